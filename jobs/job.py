"""The source of the job folders beside this file, and another way to run them.

    python jobs/job.py cxr_dp                             # simulate, one process a site
    python jobs/job.py cxr_dp --num_rounds 100 --scale 1  # TMI's numbers
    python jobs/job.py cxr_dp --env poc                   # NVFlare's POC federation on this machine
    python jobs/job.py cxr_dp --env prod --startup_kit DIR
    python jobs/job.py --env export                       # write all job folders anew

``nvflare simulator jobs/cxr_dp`` runs the committed export; a test fails when it is out of date.
"""

import argparse
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from nvflare.app_common.workflows.global_model_eval import GlobalModelEval
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.client.config import ExchangeFormat, TransferType
from nvflare.recipe import (
    PocEnv,
    ProdEnv,
    SimEnv,
    add_experiment_tracking,
    set_per_site_config,
)

from medleak.custom.best_model import BestModelLocator
from medleak.custom.recorder import UpdateRecorder
from medleak.custom.sites import TMI_TABLE_II, Site, format_table, parse_table, scaled
from medleak.custom.transforms import IMAGENET_MEAN, IMAGENET_STD
from medleak.filters.adapters import (
    DeclareDPSGD,
    PercentileGaussian,
    PrivacyBudget,
    PrivacyLedger,
    RestoreWithheld,
    Withhold,
)
from medleak.filters.withholding import BatchNorm

if TYPE_CHECKING:
    from medleak.custom.dp_sgd import DPSGD

HERE = Path(__file__).resolve().parent
TRAIN, TEST = "train", "validate"  # NVFlare's names of the two tasks
STATE_DIR = "medleak_state"  # of the withholding filters, in the site's own folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that one job folder is made from.

    Attributes:
        name: Of the job and its folder.
        classes: Class folders of the data, in label order.
        sigma0: Strength of the percentile Gaussian filter (TMI II-C); None: no filter.
        percentile: Of the same filter.
        num_rounds: Federated rounds; TMI: 100.
        scale: Share of the images of TMI Table II; None: 1/8 of phantoms, or as many of the
            images in MEDLEAK_DATA as there are.
        spatial_size: Side of the square images in pixels.
        table: The sites of the federation and how many images each has, before ``scale``.
        weights: ``auto``, ``random``, ``imagenet`` or a file; see
            :func:`medleak.custom.networks.initial_resnet18`.
        every_n_rounds, disk_budget_mb: What the recorder keeps.
        batch_norm: ``send``; ``withhold_statistics``: each site keeps and uses its own running
            statistics; ``withhold_all``: its affine weights too (FedBN, arXiv:2102.07623v2).
        max_grad_norm: Train with DP-SGD, clipped to this (TMI: C_dp); None: plain SGD.
        noise_multiplier: Of DP-SGD (TMI: sigma_dp). None: the least with which every site stays
            within ``target_epsilon`` after all rounds, from its own sampling rate and steps.
        target_epsilon, target_delta: The sites' limit on ε, for one record, and its δ. ε None,
            with a noise_multiplier: ε is counted without a limit.
        share_metrics: Under DP-SGD, send losses and accuracies, which have no noise. Without, the
            server tests the last model, as it cannot know the best.
    """

    name: str
    classes: tuple[str, ...] = ("normal", "pneumonia")
    sigma0: float | None = None
    percentile: float = 95.0
    num_rounds: int = 3
    local_epochs: int = 1
    lr: float = 0.01
    scale: float | None = None
    spatial_size: int = 64
    channels: int = 1
    table: tuple[Site, ...] = TMI_TABLE_II
    weights: str = "auto"
    seed: int = 0
    every_n_rounds: int = 1
    disk_budget_mb: float | None = None
    batch_norm: BatchNorm = "send"
    max_grad_norm: float | None = None
    noise_multiplier: float | None = None
    target_epsilon: float | None = None
    target_delta: float = 1e-5
    share_metrics: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that would fail only when sites have started, or train nothing."""
        for name, least in (("num_rounds", 1), ("local_epochs", 1), ("spatial_size", 33)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        for name in ("lr", "scale", "max_grad_norm", "noise_multiplier", "target_epsilon"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number above 0, got {value}.")
        if self.max_grad_norm is None:
            return
        if self.noise_multiplier is None and self.target_epsilon is None:
            raise ValueError("DP-SGD needs a target_epsilon or a noise_multiplier; give one.")
        if self.scale is None:
            raise ValueError(
                "DP-SGD needs a scale: a site's noise depends on its number of images."
            )

    @property
    def network(self) -> str:
        """Of :mod:`medleak.custom.networks`."""
        return "resnet18" if self.max_grad_norm is None else "resnet18_groupnorm"


JOBS = {
    job.name: job
    for job in (
        Job(name="cxr_clean"),
        Job(name="cxr_dp", sigma0=10.0),
        Job(name="cxr_fedbn", batch_norm="withhold_statistics"),
        # C_dp and sigma_dp of TMI Fig. 9 are in the figure alone; these are common first choices.
        # Two rounds, because a step costs three of plain SGD.
        Job(name="cxr_dpsgd", num_rounds=2, scale=1 / 8, max_grad_norm=1.0, target_epsilon=8.0),
    )
}


class StrictFedAvgRecipe(FedAvgRecipe):
    """NVFlare's FedAvg recipe whose clients accept the two tasks of our jobs and no other.

    The stock recipe lets clients serve any task name; a task that is not called ``train`` would
    pass by the filters of ``train``.
    """

    def _prepare_client_apps(self) -> None:
        for site, config in (self.per_site_config or {}).items():
            self._job.to(self._create_client_runner(config), site, tasks=[TRAIN, TEST])


def recipe(job: Job) -> FedAvgRecipe:
    """The NVFlare recipe of ``job``."""
    network = {"num_classes": len(job.classes)}
    made = StrictFedAvgRecipe(
        name=job.name,
        min_clients=len(job.table),
        num_rounds=job.num_rounds,
        train_script="client.py",
        model={
            "class_path": f"medleak.custom.networks.initial_{job.network}",
            "args": network | {"weights": job.weights, "seed": job.seed},
        },
        model_locator=BestModelLocator(pt_persistor_id="persistor"),
        params_transfer_type=TransferType.DIFF,
        server_expected_format=ExchangeFormat.NUMPY,
        key_metric="accuracy",
    )
    plans = _dp_sgd(job)
    set_per_site_config(
        made,
        {s.name: {"train_args": _client_args(job, s, plans.get(s.name))} for s in job.table},
    )
    # medleak is installed on every site: copies in custom/ would shadow the site's own version.
    made._job.set_app_packages(["medleak"])
    if not plans or job.share_metrics:
        add_experiment_tracking(made, "tensorboard")
    # One test set serves all sites of the simulation; its first site holds it.
    made._job.to_server(
        GlobalModelEval(model_locator_id="locator", participating_clients=[job.table[0].name])
    )
    # Server apps with a custom folder may use classes outside NVFlare's allow-list.
    made.add_server_file("README.md")
    _add_filters(made, job, plans)
    made.add_server_input_filter(_recorder(job, network), tasks=[TRAIN])
    return made


def _dp_sgd(job: Job) -> dict[str, "DPSGD"]:
    """DP-SGD of each site; empty if the job trains without."""
    if job.max_grad_norm is None or job.scale is None:
        return {}
    from medleak.custom.dp_sgd import DPSGD, noise_multiplier_for, sample_rate_for

    @cache  # sites with the same sampling rate have the same noise
    def noise(sample_rate: float) -> float:
        assert job.target_epsilon is not None  # by Job's own check
        return noise_multiplier_for(
            target_epsilon=job.target_epsilon,
            target_delta=job.target_delta,
            sample_rate=sample_rate,
            steps=job.num_rounds * job.local_epochs * round(1 / sample_rate),
        )

    plans = {}
    for site in scaled(job.table, job.scale, len(job.classes)):
        rate = sample_rate_for(site.training, site.batch_size)
        plans[site.name] = DPSGD(
            noise_multiplier=job.noise_multiplier or noise(rate),
            max_grad_norm=job.max_grad_norm,
            sample_rate=rate,
        )
    return plans


def _add_filters(made: FedAvgRecipe, job: Job, plans: Mapping[str, "DPSGD"]) -> None:
    """Everything between training and the wire."""
    if job.sigma0 is not None:
        made.add_client_output_filter(
            PercentileGaussian(percentile=job.percentile, sigma0=job.sigma0), tasks=[TRAIN]
        )
    if job.batch_norm != "send":
        made.add_client_input_filter(RestoreWithheld(state_dir=STATE_DIR), tasks=[TRAIN])
        made.add_client_output_filter(
            Withhold(batch_norm=job.batch_norm, state_dir=STATE_DIR), tasks=[TRAIN]
        )
    if job.target_epsilon is not None:
        for name, plan in plans.items():
            declared = plan.declaration(job.local_epochs)
            budget = PrivacyBudget(
                planned="dp_sgd:" + ",".join(f"{k}={v!r}" for k, v in declared.items()),
                target_epsilon=job.target_epsilon,
                target_delta=job.target_delta,
            )
            made.add_client_input_filter(budget, tasks=[TRAIN], clients=[name])
    if not plans:
        return
    metrics = "pass" if job.share_metrics else "drop"
    made.add_client_output_filter(DeclareDPSGD(metrics=metrics), tasks=[TRAIN])
    made.add_client_output_filter(
        PrivacyLedger(target_delta=job.target_delta, target_epsilon=job.target_epsilon),
        tasks=[TRAIN],
    )


def _client_args(job: Job, site: Site, plan: "DPSGD | None") -> str:
    options: dict[str, Any] = {
        "batch_size": site.batch_size,
        "local_epochs": job.local_epochs,
        "lr": job.lr,
        "classes": " ".join(job.classes),
        "spatial_size": f"{job.spatial_size} {job.spatial_size}",
        "channels": job.channels,
        "mean": " ".join(map(str, IMAGENET_MEAN)),
        "std": " ".join(map(str, IMAGENET_STD)),
        "seed": job.seed,
        "table": format_table(job.table),
        "run_dir": "{WORKSPACE}/{JOB_ID}",
    }
    if job.scale is not None:
        options["scale"] = job.scale
    if job.batch_norm != "send":
        options["withheld"] = f"{{WORKSPACE}}/{STATE_DIR}/{{JOB_ID}}/withheld"
    if plan is not None:
        options |= {"network": job.network, **asdict(plan)}
    if plan is not None and job.share_metrics:
        options["share_metrics"] = ""
    return " ".join(f"--{name} {value}".rstrip() for name, value in options.items())


def _recorder(job: Job, network: dict[str, Any]) -> UpdateRecorder:
    return UpdateRecorder(
        model_path=f"medleak.custom.networks.{job.network}",
        model_args=network,
        task={"criterion": "cross_entropy", "num_classes": len(job.classes)},
        input={
            "spatial_size": [job.spatial_size, job.spatial_size],
            "channels": job.channels,
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
        },
        class_names=list(job.classes),
        every_n_rounds=job.every_n_rounds,
        disk_budget_mb=job.disk_budget_mb,
    )


def export(job: Job, folder: Path) -> Path:
    """Write the job folder ``folder/job.name``; return it."""
    os.chdir(HERE)  # the recipe looks for its scripts from here
    with tempfile.TemporaryDirectory() as scratch:
        recipe(job).export(scratch)
        for file in sorted(Path(scratch).glob("**/*")):
            target = folder / file.relative_to(scratch)
            if file.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            elif file.suffix == ".json":
                target.write_text(json.dumps(json.loads(file.read_text()), indent=2) + "\n")
            else:
                target.write_bytes(file.read_bytes())
    return folder / job.name


_OPTIONS = {
    **dict.fromkeys(("num_rounds", "local_epochs", "spatial_size", "seed", "every_n_rounds"), int),
    **dict.fromkeys(("lr", "scale", "sigma0", "percentile", "disk_budget_mb"), float),
    **dict.fromkeys(("max_grad_norm", "noise_multiplier"), float),
    **dict.fromkeys(("target_epsilon", "target_delta"), float),
    "weights": str,
}
_OF_DP_SGD = ("max_grad_norm", "noise_multiplier", "target_epsilon", "target_delta")


def main(argv: list[str] | None = None) -> None:
    """Run or export a job from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", choices=sorted(JOBS), help="default for export: all")
    parser.add_argument("--env", choices=("sim", "poc", "prod", "export"), default="sim")
    parser.add_argument("--folder", type=Path, default=HERE, help="where --env export writes")
    parser.add_argument("--workspace", type=Path, default=Path("workspace"), help="of --env sim")
    parser.add_argument("--threads", type=int, help="sites at a time in --env sim; default: all")
    parser.add_argument("--startup_kit", help="admin startup kit of --env prod")
    for field, kind in _OPTIONS.items():
        parser.add_argument(f"--{field}", type=kind)
    parser.add_argument("--batch_norm", choices=get_args(BatchNorm))
    parser.add_argument("--share_metrics", action="store_true", default=None)
    parser.add_argument(
        "--table",
        type=parse_table,
        help="sites as name:batch_size:training:validation[:shares],...",
    )
    args = parser.parse_args(argv)
    if args.name is None and args.env != "export":
        parser.error(f"name a job: {', '.join(sorted(JOBS))}")
    for name in [args.name] if args.name else sorted(JOBS):
        try:
            job = _configured(JOBS[name], args)
            if args.env == "export":
                print(export(job, args.folder.resolve()))
            else:
                _run(job, args)
        except ValueError as error:  # of the job's settings, or of a filter's
            parser.error(" ".join(str(error).split()))


def _configured(job: Job, args: argparse.Namespace) -> Job:
    """``job`` with the options that were given."""
    given = {k: v for k, v in vars(args).items() if v is not None and k in Job.__slots__}
    given.pop("name", None)
    if "sigma0" in given and job.sigma0 is None:
        raise ValueError(f"--sigma0 has no filter to go to in {job.name}; take cxr_dp.")
    for name in (*_OF_DP_SGD, "share_metrics"):
        if name in given and job.max_grad_norm is None:
            raise ValueError(f"--{name} is of DP-SGD, which {job.name} has not; take cxr_dpsgd.")
    if "batch_norm" in given and job.batch_norm == "send":
        raise ValueError(f"--batch_norm has no filter to go to in {job.name}; take cxr_fedbn.")
    if "noise_multiplier" in given and "target_epsilon" not in given:
        given["target_epsilon"] = None  # fixed noise: the job's own target was for its own noise
    return replace(job, **given)


def _run(job: Job, args: argparse.Namespace) -> None:
    workspace = args.workspace.resolve()
    os.chdir(HERE)
    sites = [site.name for site in job.table]
    if args.env == "sim":
        env = SimEnv(clients=sites, num_threads=args.threads, workspace_root=str(workspace))
    elif args.env == "poc":
        env = PocEnv(clients=sites)
    else:
        env = ProdEnv(startup_kit_location=args.startup_kit)
    run = recipe(job).run(env)
    print(f"status: {run.get_status()}, result: {run.get_result(clean_up=False)}")


if __name__ == "__main__":
    main()
