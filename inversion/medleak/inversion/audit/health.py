"""Whether an attack works at all here: it must invert an easy case before its failure counts.

The easy case is the unprotected update of one plain local step on one image, from the very global
model and with the settings, knowledge and device of the audit. The image is a made-up one, so that
no truth is read. An attack that fails on it is broken, unsuited to the network, or starved of time:
its failure on a protected update says nothing. An easy case that is made as the site declares its
input shares an error of the declaration, so that is checked against the update itself.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from medleak.custom.data.transforms import network_input
from medleak.custom.phantoms import MODALITIES, VOLUMES, listing, phantom
from medleak.custom.record import Criterion, InputSpec, Record
from medleak.inversion.losses import REPLAYED, first_output, task_loss
from medleak.inversion.measures.similarity import assign, rdlv, ssim
from medleak.inversion.networks import build_network, load_global_state
from medleak.inversion.observation import frozen_norms, normalisation
from medleak.inversion.reconstruction import Progress, ProgressCallback, Reconstruction
from medleak.inversion.results.rows import shortened

REACHED = 0.1
"""RDLV from which the easy case counts as inverted: beyond what starting from the prior gives."""

SECONDS = 120.0
"""What an attack may take on the easy case, CPU seconds (wall seconds on a GPU)."""

_EASY_LR = 0.01
"""Learning rate of the easy step, where the site did not say its own."""

# Neither a seed of the jobs (0, 1, …) nor the prior's: the image is new to attack and prior.
_PHANTOM_SEED = 190608935


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What became of the easy case of one attack with one kind of knowledge.

    Attributes:
        reached: It was inverted: RDLV of at least `REACHED`.
        round: Of the global model that the easy update starts from.
        ssim: Of reconstruction and image; 0 if there is no reconstruction.
        ssim_prior: Of the prior and the image; None likewise.
        rdlv: See `medleak.inversion.measures.similarity.rdlv`.
        seconds: As the attack counts them.
        why: What stopped the attack, or voids the easy case; empty where nothing did.
        losses: Final ones of the attack, by name: those of something that was found.
        contradiction: What in the recorded update contradicts the declaration that the easy case
            was made by (`medleak.inversion.evidence.declared_input`): it is not ``reached`` then,
            as it shares the error.
    """

    reached: bool
    round: int
    ssim: float = 0.0
    ssim_prior: float | None = None
    rdlv: float | None = None
    seconds: float = 0.0
    why: str = ""
    losses: Mapping[str, float] = field(default_factory=dict)
    contradiction: str = ""

    @property
    def final(self) -> bool:
        """Whether trying again could change nothing: it ran, or ran out of its time."""
        return not self.why or bool(self.contradiction) or self.why.startswith(_LATE)


_LATE = "not finished within"


class OutOfTimeError(Exception):
    """An attack on the easy case took more than its time."""


def easy_image(spec: InputSpec) -> tuple[Tensor, Tensor]:
    """A made-up image [1, C, *size] in [0, 1] and its label [1].

    Channels that are no colours are patients, one each.
    """
    size, channels = spec.spatial_size, spec.channels
    drawn_in = MODALITIES if len(size) == 2 else VOLUMES
    kinds = [name for name, m in drawn_in.items() if m.channels == channels]
    modality = kinds[0] if kinds else next(iter(drawn_in))
    items = listing(1 if kinds else channels, _PHANTOM_SEED, modality)
    # Phantoms have at least 16 px; below that a corner of one is as good.
    large = tuple(max(side, 16) for side in size)
    drawn = [phantom(modality, item.image, large, _PHANTOM_SEED).image for item in items]
    colour = drawn[0].ndim > len(size)
    pixels = torch.from_numpy(np.moveaxis(drawn[0], -1, 0) if colour else np.stack(drawn)).float()
    corner = (slice(None), *(slice(side) for side in size))
    return (pixels / 255)[corner][None].contiguous(), torch.tensor([items[0].label])


def easy_record(
    record: Record, image: Tensor, label: Tensor, *, allowed_prefixes: Sequence[str] = ()
) -> Record:
    """The update of one step on ``image`` [B, C, *size], from ``record``'s global model.

    A plain step of SGD, or of Adam where the site trains with it: the attack has to undo that too.
    Norm layers that the site froze are frozen here, and so are weights that did not move at all: of
    a head alone, or of adapters, a full update is no case that is easy in the same way.

    A network of masks gets the brighter half of the image for a mask instead of ``label`` [B]. Of a
    loss that is not known or not computed here, cross-entropy stands in its place.

    Raises:
        ValueError: The network cannot be built, or the record is of another one.
    """
    manifest = record.manifest
    spec, task = manifest.known_model(), manifest.task
    network = build_network(spec.path, spec.args, allowed_prefixes=allowed_prefixes)
    state: dict[str, Any] = {k: torch.as_tensor(v) for k, v in record.global_state.items()}
    load_global_state(network, state)
    network.train()
    for name in frozen_norms(network, record.update):
        network.get_submodule(name).eval()
    still = _unmoved(network, record.update)
    lr = record.info.lr or _EASY_LR
    optimizer, settings = _easy_optimizer(record, network, lr)
    output = network(network_input(image, *normalisation(manifest.known_input(), network)))
    _easy_loss(first_output(output), image, label, task.criterion if task else None).backward()
    for name, parameter in network.named_parameters():
        if name in still:
            parameter.grad = None  # which no optimiser moves, by weight decay either
    optimizer.step()
    update = {k: (v - state[k]).numpy() for k, v in network.state_dict().items()}
    counts = dict.fromkeys(("n_steps", "local_epochs", "accumulation_steps"), 1)
    counts |= dict.fromkeys(("n_images", "batch_size"), len(image))
    plain = {"lr": lr, "lr_schedule": None, "momentum": 0.0, "state_kept": False} | settings
    info = record.info.with_schedule("given", **counts, **plain)
    return Record(manifest, info, record.global_state, update)


def _unmoved(network: nn.Module, update: Mapping[str, np.ndarray]) -> set[str]:
    """Parameters whose update is there and all zero; none of an update in which nothing moved."""
    names = [name for name, _ in network.named_parameters() if name in update]
    still = {name for name in names if not update[name].any()}
    return still if len(still) < len(names) else set()


def _easy_loss(output: Tensor, image: Tensor, label: Tensor, criterion: Criterion | None) -> Tensor:
    if output.dim() > 2:  # of masks
        bright = (image.mean(1, keepdim=True) > image.mean()).float()
        bright = functional.interpolate(bright, size=output.shape[2:])[:, 0]
        if output.shape[1] == 1:
            return functional.binary_cross_entropy_with_logits(output[:, 0], bright)
        return functional.cross_entropy(output, bright.long())
    if criterion in REPLAYED:
        return task_loss(criterion, output, label)
    if output.shape[1] == 1:
        return task_loss("bce", output, label.clamp_max(1))
    return task_loss("cross_entropy", output, label % output.shape[1])


def _easy_optimizer(
    record: Record, network: nn.Module, lr: float
) -> tuple[torch.optim.Optimizer, dict[str, Any]]:
    """The site's Adam, as it has to be undone; plain SGD for any other, with what to record."""
    info, parameters = record.info, network.parameters()
    plain = {"weight_decay": 0.0, "clip_norm": None}
    if info.optimizer not in ("adam", "adamw"):
        return torch.optim.SGD(parameters, lr=lr), {"optimizer": "sgd"} | plain
    kind = torch.optim.Adam if info.optimizer == "adam" else torch.optim.AdamW
    eps = info.eps or 1e-8
    return kind(parameters, lr=lr, eps=eps, weight_decay=0.0), {"eps": eps} | plain


def capped(settings: Any, seconds: float = SECONDS) -> Any:
    """``settings`` with at most ``seconds``, where the attack has such a setting."""
    if not any(f.name == "seconds" for f in dataclasses.fields(settings)):
        return settings
    given = settings.seconds
    return dataclasses.replace(settings, seconds=min(given or math.inf, seconds))


def stop_late(seconds: float = SECONDS, then: ProgressCallback | None = None) -> ProgressCallback:
    """A callback that ends an attack which goes on well after ``seconds``.

    It is the net below `capped`: most attacks stop by themselves and return what they have.
    """

    def follow(state: Progress) -> None:
        if state.seconds > 1.5 * seconds:
            raise OutOfTimeError(f"{_LATE} {1.5 * seconds:.0f} s")
        if then is not None:
            then(state)

    return follow


def judge(
    round: int, found: Reconstruction, image: Tensor, prior: Tensor, contradiction: str = ""
) -> Health:
    """Compare ``found`` with the easy case's ``image``; all three have equal channels.

    ``contradiction`` is what the recorded update says against the declaration behind the case.
    """
    pairs = assign(found.images, image)
    of_prior = ssim(image, prior)
    value = float(rdlv(pairs.ssim, of_prior)[0])
    similar = float(pairs.ssim[0])
    # An easy image that the prior has nothing in common with: RDLV is undefined, SSIM is not.
    reached = value >= REACHED if not math.isnan(value) else similar >= 0.5
    return Health(
        reached=reached and not contradiction,
        round=round,
        ssim=shortened(similar),
        ssim_prior=shortened(float(of_prior[0])),
        rdlv=None if math.isnan(value) else shortened(value),
        seconds=shortened(found.seconds),
        why=contradiction,
        losses={n: shortened(v) for n, v in found.losses.items() if math.isfinite(v)},
        contradiction=contradiction,
    )


def failed(round: int, why: str) -> Health:
    """The health of an attack that was stopped."""
    return Health(reached=False, round=round, why=" ".join(why.split()))


def key(attack: str, knowledge: str) -> str:
    """Name of an attack's health in summary.json."""
    return f"{attack}|{knowledge}"
