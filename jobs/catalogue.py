"""What the jobs are: data, network, training, defence of each, and the checks on them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from medleak.custom.sites.canaries import Plan
from medleak.custom.sites.split import MEDPFL_SITES, TMI_TABLE_II, Site
from medleak.filters.defences.defence import Defence
from medleak.filters.defences.percentile_gaussian import PercentileGaussian
from medleak.filters.defences.perturbation import LaplacePerturbation
from medleak.filters.defences.top_k import TopK
from medleak.filters.defences.withholding import Withhold

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Images of one kind: classes in label order, channels 1 or 3, the phantoms that stand in."""

    classes: tuple[str, ...]
    modality: str
    channels: Literal[1, 3] = 1
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD


XRAYS = Data(classes=("normal", "pneumonia"), modality="cxr")
FUNDUS = Data(classes=("normal", "glaucoma"), modality="fundus", channels=3)
BRAIN = Data(classes=("glioma", "meningioma", "notumor", "pituitary"), modality="brain_mri")

# Means and standard deviations of MedPFL (arXiv:2409.18907v1), Table IV.
MEDPFL = {
    "melanoma": Data(
        classes=("benign", "malignant"),
        modality="dermoscopy",
        channels=3,
        mean=(0.7160, 0.5668, 0.5441),
        std=(0.2207, 0.2087, 0.2222),
    ),
    "cxr": Data(
        classes=("covid", "normal", "pneumonia"),
        modality="cxr",
        mean=(0.4949, 0.4950, 0.4953),
        std=(0.2687, 0.2687, 0.2688),
    ),
    "brain_mri": Data(
        classes=BRAIN.classes,
        modality="brain_mri",
        mean=(0.1869, 0.1869, 0.1870),
        std=(0.1763, 0.1763, 0.1763),
    ),
    "cifar10": Data(
        classes=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
        modality="cifar10",  # there are no phantoms of it: it needs MEDLEAK_DATA
        channels=3,
        mean=(0.4914, 0.4822, 0.4467),
        std=(0.2471, 0.2434, 0.2615),
    ),
}

_NETWORKS, _SMALL = "medleak.custom.networks.", "medleak.custom.small_networks."
MODELS = {
    "resnet18": f"{_NETWORKS}resnet18",
    "resnet18_groupnorm": f"{_NETWORKS}resnet18_groupnorm",
    "resnet18_cifar": f"{_NETWORKS}resnet18_cifar",
    "densenet121": f"{_NETWORKS}densenet121",
    "densenet121_groupnorm": f"{_NETWORKS}densenet121_groupnorm",
    "unet": f"{_NETWORKS}unet",
    "lenet": f"{_SMALL}lenet",
    "cnn4": f"{_SMALL}cnn4",
}
"""Networks by short name; any other is a dotted name."""

# An eighth of it, which phantoms get, is 128 images a site: a U-Net learns nothing from fewer.
BRAIN_SITES = (
    Site("site-1", 4, 1024, 256),
    Site("site-2", 4, 1024, 256),
    Site("site-3", 8, 1024, 256),
    Site("site-9", 1, 1, 256, shares="site-1"),
)
SMALL_SITES = (
    Site("site-1", 4, 128, 200),
    Site("site-2", 4, 128, 200),
    Site("site-9", 1, 1, 200, shares="site-1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that one job folder is made from.

    Attributes:
        name: Of the job and its folder.
        about: What it is for, in one or two sentences of its README.
        data: Classes, channels, normalisation and phantoms.
        masks: Segment the images' masks instead of telling their classes.
        defence: What each site's filters do to its update; None: nothing.
        error_feedback: Compressing defences add what they left out in the round before.
        num_rounds: Federated rounds; TMI: 100.
        clients_per_round: A random subset of so many sites trains in each round; None: all.
        full_batch: One step a round on all images of a site, so that it sends its gradient:
            FedSGD (MedPFL, Algorithm 1).
        fedprox_mu: Strength of FedProx' pull towards the global model; None: FedAvg.
        server_optimizer: FedOpt: ``"sgd:lr=1.0,momentum=0.9"`` or ``"adam:lr=0.01"`` on the
            server; None: FedAvg.
        scale: Share of the images of the table; None: 1/8 of phantoms, or as many of the images
            in MEDLEAK_DATA as there are.
        spatial_size: Side of the square images in pixels.
        table: The sites of the federation and how many images each has, before ``scale``.
        model: Of ``MODELS``, or the dotted name of any importable factory.
        model_args: Its arguments beside those that follow from the job.
        weights: ``auto``, ``random``, ``imagenet`` or a file; see
            :func:`medleak.custom.training.initial.initial_network`. ``auto`` is for ResNet-18 only:
            ``MEDLEAK_WEIGHTS`` is of one; other networks start at random.
        every_n_rounds, disk_budget_mb: What the recorder keeps.
        tracking: NVFlare's receiver of losses and scores.
        encrypted: Homomorphic encryption of the updates (CKKS).
        installed: Ship no code: each site trains with the medleak that it has installed, and a site
            that forbids code from jobs (BYOC) can take part.
        max_grad_norm: Train with DP-SGD, clipped to this (TMI: C_dp); None: plain SGD.
        noise_multiplier: Of DP-SGD (TMI: sigma_dp). None: the least with which every site stays
            within ``target_epsilon`` after all rounds, from its own sampling rate and steps.
        target_epsilon, target_delta: The sites' limit on ε and its δ. ε None, with a
            noise_multiplier: ε is counted without a limit.
        canaries: Made-up records that one site plants in its training, ``gradients:count=500`` or
            ``images:count=64``, so that ``medleak dp-audit`` can put ε to the test; None: none.
            The site's operator must have set MEDLEAK_CANARIES=allow.
        canary_site: That site; None: the first of the table.
        share_metrics: Under DP-SGD, send losses and accuracies, which have no noise. Without, the
            server tests the last model, as it cannot know the best.
    """

    name: str
    about: str
    data: Data = XRAYS
    masks: bool = False
    defence: Defence | None = None
    error_feedback: bool = False
    num_rounds: int = 3
    clients_per_round: int | None = None
    local_epochs: int = 1
    full_batch: bool = False
    lr: float = 0.01
    fedprox_mu: float | None = None
    server_optimizer: str | None = None
    scale: float | None = None
    spatial_size: int = 64
    table: tuple[Site, ...] = TMI_TABLE_II
    model: str = "resnet18"
    model_args: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "auto"
    seed: int = 0
    every_n_rounds: int = 1
    disk_budget_mb: float | None = None
    tracking: str = "tensorboard"
    encrypted: bool = False
    installed: bool = False
    max_grad_norm: float | None = None
    noise_multiplier: float | None = None
    target_epsilon: float | None = None
    target_delta: float = 1e-5
    share_metrics: bool = False
    canaries: str | None = None
    canary_site: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that would fail only when sites have started, or train nothing."""
        least = 33 if self.model in ("resnet18", "resnet18_groupnorm") else 8
        for name, at_least in (("num_rounds", 1), ("local_epochs", 1), ("spatial_size", least)):
            if getattr(self, name) < at_least:
                raise ValueError(f"{name} must be at least {at_least}, got {getattr(self, name)}.")
        for name in ("lr", "scale", "fedprox_mu", *OF_DP_SGD[:3]):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number above 0, got {value}.")
        drawn = self.clients_per_round
        if drawn is not None and not 1 <= drawn <= len(self.table):
            raise ValueError(
                f"clients_per_round must be 1 to {len(self.table)}, the number of sites, got "
                f"{drawn}."
            )
        self._check_canaries()
        self._check_fit()

    def _check_canaries(self) -> None:
        if self.canaries is None:
            if self.canary_site is not None:
                raise ValueError("canary_site names who plants canaries, and there are none.")
            return
        plan = Plan.parse(self.canaries)
        if self.canary_site is not None and self.planting_site not in {s.name for s in self.table}:
            raise ValueError(f"canary_site {self.canary_site!r} is no site of the job.")
        if self.masks and plan.kind == "images":
            raise ValueError("There are no canary images with masks: plant gradients.")
        if self.encrypted:
            raise ValueError("Of encrypted updates nothing is recorded, so no canary can be seen.")

    @property
    def planting_site(self) -> str | None:
        """The site that plants canaries; None: none does."""
        return None if self.canaries is None else self.canary_site or self.table[0].name

    def _check_fit(self) -> None:
        if self.installed and self.tracking != "none":
            raise ValueError(
                f"tracking={self.tracking} sends losses as events, past the filters of sites that "
                "forbid code; they refuse such a job. Leave tracking at none with --installed."
            )
        if self.full_batch and self.local_epochs != 1:
            raise ValueError("FedSGD takes one step a round: leave local_epochs at 1.")
        if self.fedprox_mu is not None and self.server_optimizer is not None:
            raise ValueError("FedProx and FedOpt are two workflows of NVFlare's: choose one.")
        if self.masks and self.max_grad_norm is not None:
            raise ValueError("DP-SGD of masks is not supported: take a defence on the update.")
        if self.max_grad_norm is None:
            return
        if self.model in ("resnet18", "resnet18_cifar", "densenet121"):
            raise ValueError(
                f"DP-SGD cannot train the batch norm of {self.model}, which mixes the images of a "
                "batch: take resnet18_groupnorm or densenet121_groupnorm."
            )
        if self.noise_multiplier is None and self.target_epsilon is None:
            raise ValueError("DP-SGD needs a target_epsilon or a noise_multiplier; give one.")
        if self.scale is None:
            raise ValueError(
                "DP-SGD needs a scale: a site's noise depends on its number of images."
            )

    @property
    def model_path(self) -> str:
        """Dotted name of the network's factory."""
        return MODELS.get(self.model, self.model)

    @property
    def factory_args(self) -> dict[str, Any]:
        """All arguments of the factory."""
        own: dict[str, Any] = {}
        if self.model in MODELS:
            own["num_classes"] = self.num_classes
        if self.model_path.startswith(_SMALL):
            own["spatial_size"] = self.spatial_size
        return {**own, **self.model_args}

    @property
    def num_classes(self) -> int:
        """Outputs of the network: classes of images, or background and foreground."""
        return 2 if self.masks else len(self.data.classes)

    @property
    def initial_weights(self) -> str:
        """``weights``, but random for networks that MEDLEAK_WEIGHTS is not of."""
        fits = self.model in ("resnet18", "resnet18_groupnorm")
        return "random" if self.weights == "auto" and not fits else self.weights


OF_DP_SGD = ("max_grad_norm", "noise_multiplier", "target_epsilon", "target_delta")

JOBS = {
    job.name: job
    for job in (
        Job(
            name="cxr_clean",
            about="Nothing is protected: where leakage is measured, and what other defences are "
            "replayed on.",
        ),
        Job(
            name="cxr_dp",
            about="Gaussian noise on every update, sigma = sigma0 x 95th percentile of its "
            "absolute values (--sigma0, --percentile, --scope), as published. epsilon: none "
            "(heuristic).",
            defence=PercentileGaussian(sigma0=10.0),
        ),
        Job(
            name="cxr_laplace",
            about="Laplace noise of scale lr/level on every update: MedPFL's noise level 100 "
            "(--level; a higher level is less noise). epsilon: none (heuristic).",
            defence=LaplacePerturbation(level=100, lr=0.01),
        ),
        Job(
            name="cxr_compressed",
            about="Each site sends the largest tenth of each tensor (--fraction) and adds what it "
            "left out to the next round's (--error_feedback). Others: --defence sign, "
            "quantisation:bits=4, random_k:fraction=0.1. epsilon: none (heuristic).",
            defence=TopK(fraction=0.1),
            error_feedback=True,
        ),
        Job(
            name="cxr_fedbn",
            about="Batch-norm statistics never leave a site: it keeps its own on disk "
            "(medleak_state/), trains on from them and tests with them (--batch_norm withhold_all: "
            "FedBN, affine weights too). epsilon: none (heuristic); the weights that are sent can "
            "still be inverted.",
            defence=Withhold(batch_norm="withhold_statistics"),
        ),
        # C_dp and sigma_dp of TMI Fig. 9 are in the figure alone; these are common first choices.
        # Two rounds, because a step costs three of plain SGD.
        Job(
            name="cxr_dpsgd",
            about="Every site trains a group-norm ResNet-18 with DP-SGD so that each of its images "
            "stays within epsilon = 8 at delta = 1e-5 over all rounds; a budget is asked before "
            "training, `medleak ledger RUN` shows what was spent. Losses and accuracies are not "
            "covered and stay home (--share_metrics). Fixed noise: --max_grad_norm C "
            "--noise_multiplier S.",
            model="resnet18_groupnorm",
            num_rounds=2,
            scale=1 / 8,
            max_grad_norm=1.0,
            target_epsilon=8.0,
        ),
        Job(
            name="cxr_he",
            about="Updates are encrypted homomorphically (CKKS, NVFlare and TenSEAL): the server "
            "adds them up without reading them, and the recorder says that there is nothing to "
            "audit there (the sites share a key and see every new model). LeNet, as ResNet-18 "
            "would send a gigabyte. No final test: read the sites' validation. In the simulator "
            "keys are made on the spot, unsafe; in POC and production they come from "
            "provisioning (nvflare poc prepare -he; HEBuilder).",
            table=SMALL_SITES,
            model="lenet",
            num_rounds=2,
            encrypted=True,
            tracking="none",
        ),
        Job(
            name="fundus_clean",
            about="Colour fundus images, normal against glaucoma, nothing protected: RGB has no "
            "gray constraint to help the attacker, and three channels to fill.",
            data=FUNDUS,
        ),
        Job(
            name="fundus_dp",
            about="fundus_clean under the published noise, sigma = sigma0 x 95th percentile "
            "(--sigma0, --percentile, --scope). epsilon: none (heuristic).",
            data=FUNDUS,
            defence=PercentileGaussian(sigma0=10.0),
        ),
        Job(
            name="medpfl_fedsgd",
            about="FedSGD as in MedPFL, Algorithm 1: each round a random half of the sites sends "
            "one gradient over all its images (1, 4 or 8 of 32 px). --data melanoma, cxr, "
            "brain_mri or cifar10; --model cnn4, lenet or resnet18_cifar; a defence by "
            "--defence laplace_perturbation:level=100,lr=0.01.",
            data=MEDPFL["melanoma"],
            model="cnn4",
            spatial_size=32,
            table=MEDPFL_SITES,
            clients_per_round=4,
            num_rounds=3,
            full_batch=True,
        ),
        Job(
            name="brain_unet",
            about="A U-Net draws the tumour in brain MRI (Dice; --model_args "
            '\'{"norm": "instance"}\' sends no statistics). On your own data MEDLEAK_DATA is a '
            "folder with images/ and masks/. What leaks is shown by row_space, which needs no "
            "labels.",
            data=BRAIN,
            masks=True,
            model="unet",
            table=BRAIN_SITES,
            num_rounds=5,
            lr=0.5,
        ),
    )
}
