"""From a job of the catalogue to NVFlare's recipe: server, sites, filters, recorder."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nvflare.apis.filter import Filter
from nvflare.app_common.aggregators.intime_accumulate_model_aggregator import (
    InTimeAccumulateWeightedAggregator,
)
from nvflare.app_common.workflows.global_model_eval import GlobalModelEval
from nvflare.app_common.workflows.scatter_and_gather import ScatterAndGather
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.client.config import ExchangeFormat, TransferType
from nvflare.recipe.utils import add_experiment_tracking, set_per_site_config

import encryption
from catalogue import Job
from medleak.custom.flare.best_model import BestModelLocator
from medleak.custom.flare.fedopt import FedOpt
from medleak.custom.flare.installed_client import InstalledClient
from medleak.custom.flare.recorder import UpdateRecorder
from medleak.custom.flare.tested_model import GlobalModelScores
from medleak.custom.sites.split import format_table, scaled
from medleak.custom.training.client import MASK_CLASSES
from medleak.custom.training.initial import format_args
from medleak.filters import adapters
from medleak.filters.adapters.compression import CompressionFilter
from medleak.filters.defences.composition import Composition
from medleak.filters.defences.defence import Defence
from medleak.filters.defences.withholding import Withhold
from medleak.filters.privacy.accounting import guarantee_of
from medleak.filters.spec import Spec

if TYPE_CHECKING:
    from medleak.custom.training.dp_sgd import DPSGD

TRAIN, TEST = "train", "validate"  # NVFlare's names of the two tasks
STATE_DIR = "medleak_state"  # of filters that keep something, in the site's own folder
SERVER_README = "server.md"


class StrictFedAvgRecipe(FedAvgRecipe):
    """NVFlare's FedAvg recipe whose clients accept the two tasks of our jobs and no other.

    The stock recipe lets clients serve any task name; a task that is not called ``train`` would
    pass by the filters of ``train``. FedProx and FedOpt are NVFlare's own, in the same frame.
    """

    def __init__(self, job: Job, **kwargs: Any) -> None:
        """Take the workflow from ``job``, the rest as NVFlare's recipe does."""
        self._ours = job
        super().__init__(**kwargs)

    def _prepare_client_apps(self) -> None:
        if self._ours.installed:
            # NVFlare gives every site a widget that sends events to the server, past its filters.
            self._job.set_up_client = lambda target: None
        for site, config in (self.per_site_config or {}).items():
            if self._ours.installed:
                runner = InstalledClient(config["train_args"])
            else:
                runner = self._create_client_runner(config)
            self._job.to(runner, site, tasks=[TRAIN, TEST])

    def _setup_model_and_persistor(self, job: Any) -> str:
        if self._ours.encrypted:
            return encryption.add_to_server(job, _initial(self._ours))
        persistor_id = super()._setup_model_and_persistor(job)
        if self._ours.server_optimizer is not None:
            name, arguments = _optimizer(self._ours.server_optimizer)
            update = FedOpt(**_initial(self._ours), server_optimizer=name, server_args=arguments)
            job.to_server(update, id="shareable_generator")
            job.to_server(InTimeAccumulateWeightedAggregator(), id="aggregator")
        return persistor_id

    def _create_controller(
        self, persistor_id: str, model_params: Any, model_aggregator: Any
    ) -> Any:
        if self._ours.server_optimizer is not None or self._ours.encrypted:
            return ScatterAndGather(
                min_clients=self.min_clients,
                num_rounds=self.num_rounds,
                wait_time_after_min_received=0,
                aggregator_id="aggregator",
                persistor_id=persistor_id,
                shareable_generator_id="shareable_generator",
            )
        controller = super()._create_controller(persistor_id, model_params, model_aggregator)
        controller.num_clients = self._ours.clients_per_round or self.min_clients
        controller.fedprox_mu = self._ours.fedprox_mu
        return controller


def recipe(job: Job) -> FedAvgRecipe:
    """The NVFlare recipe of ``job``."""
    made = StrictFedAvgRecipe(
        job,
        name=job.name,
        min_clients=len(job.table),
        num_rounds=job.num_rounds,
        train_script="client.py",
        model={
            "class_path": "medleak.custom.training.initial.initial_network",
            "args": _initial(job),
        },
        model_locator=BestModelLocator(pt_persistor_id="persistor"),
        params_transfer_type=TransferType.DIFF,
        server_expected_format=ExchangeFormat.NUMPY,
        key_metric="dice" if job.masks else "accuracy",
    )
    plans = _dp_sgd(job)
    set_per_site_config(
        made,
        {s.name: {"train_args": _client_args(job, s.name, plans.get(s.name))} for s in job.table},
    )
    # medleak is installed on every site: copies in custom/ would shadow the site's own version.
    made._job.set_app_packages(["medleak"])
    if job.tracking != "none" and (not plans or job.share_metrics):
        add_experiment_tracking(made, job.tracking)
    if not job.encrypted:  # NVFlare cannot hand out a model for tests that only sites can read
        # One test set serves all sites of the simulation; its first site holds it.
        tester = job.table[0].name
        made._job.to_server(
            GlobalModelEval(model_locator_id="locator", participating_clients=[tester])
        )
        made._job.to_server(GlobalModelScores(site=tester), id="test_metrics")
    if not job.installed:
        # Server apps with a custom folder may use classes outside NVFlare's allow-list.
        made.add_server_file(SERVER_README)
    _add_filters(made, job, plans)
    if job.encrypted:
        encryption.add_to_sites(made, [s.name for s in job.table], _initial(job))
    made.add_server_input_filter(_recorder(job), tasks=[TRAIN])
    return made


def _initial(job: Job) -> dict[str, Any]:
    return {
        "model_path": job.model_path,
        "model_args": job.factory_args,
        "weights": job.initial_weights,
        "seed": job.seed,
    }


def _optimizer(spec: str) -> tuple[str, dict[str, float]]:
    """``sgd:lr=1.0,momentum=0.9`` as name and arguments."""
    try:
        read = Spec.parse(spec)
        return read.name, {key: float(str(value)) for key, value in read.pairs}
    except ValueError:
        raise ValueError(
            f"server_optimizer must be of the form sgd:lr=1.0,momentum=0.9, got {spec!r}."
        ) from None


def _dp_sgd(job: Job) -> dict[str, "DPSGD"]:
    """DP-SGD of each site; empty if the job trains without."""
    if job.max_grad_norm is None or job.scale is None:
        return {}
    from medleak.custom.training.dp_sgd import DPSGD, sample_rate_for
    from medleak.filters.privacy.accounting import dp_sgd_noise_for

    @cache  # sites with the same sampling rate have the same noise
    def noise(sample_rate: float) -> float:
        if job.target_epsilon is None:
            raise ValueError("Neither noise_multiplier nor target_epsilon says how much noise.")
        return dp_sgd_noise_for(
            target_epsilon=job.target_epsilon,
            target_delta=job.target_delta,
            sample_rate=sample_rate,
            steps=job.num_rounds * job.local_epochs * round(1 / sample_rate),
        )

    plans = {}
    for site in scaled(job.table, job.scale, len(job.data.classes)):
        rate = sample_rate_for(site.training, site.batch_size)
        plans[site.name] = DPSGD(
            noise_multiplier=job.noise_multiplier or noise(rate),
            max_grad_norm=job.max_grad_norm,
            sample_rate=rate,
        )
    return plans


def steps_of(defence: Defence | None) -> list[Defence]:
    """The filters that a defence is made of, in their order."""
    if defence is None:
        return []
    return list(defence.steps) if isinstance(defence, Composition) else [defence]


def compresses(step: Defence) -> bool:
    """Whether what a filter leaves out can be added in the next round (error feedback)."""
    return issubclass(getattr(adapters, type(step).__name__), CompressionFilter)


def _adapter(step: Defence, job: Job) -> Filter:
    """The NVFlare filter of one pure defence: it has the same name and arguments."""
    arguments: dict[str, Any] = {
        f.name: getattr(step, f.name) for f in fields(step) if getattr(step, f.name) != f.default
    }
    kind = getattr(adapters, type(step).__name__)
    if guarantee_of(step) is not None:
        arguments["disclose"] = ["schedule"]  # the recorder and the audit of these jobs need it
    if job.error_feedback and compresses(step):
        arguments |= {"error_feedback": True, "state_dir": STATE_DIR}
    if isinstance(step, Withhold):
        arguments |= {"layers": list(step.layers), "state_dir": STATE_DIR}
    return kind(**arguments)


def _add_filters(made: FedAvgRecipe, job: Job, plans: Mapping[str, "DPSGD"]) -> None:
    """Everything between training and the wire."""
    steps = steps_of(job.defence)
    if any(isinstance(step, Withhold) for step in steps):
        made.add_client_input_filter(adapters.RestoreWithheld(state_dir=STATE_DIR), tasks=[TRAIN])
    for step in steps:
        made.add_client_output_filter(_adapter(step, job), tasks=[TRAIN])
    if job.target_epsilon is not None:
        for name, plan in plans.items():
            declared = plan.declaration(job.local_epochs)
            budget = adapters.PrivacyBudget(
                planned=str(Spec.of("dp_sgd", declared)),
                target_epsilon=job.target_epsilon,
                target_delta=job.target_delta,
            )
            made.add_client_input_filter(budget, tasks=[TRAIN], clients=[name])
    if plans:
        metrics = "pass" if job.share_metrics else "drop"
        declare = adapters.DeclareDPSGD(metrics=metrics, disclose=["schedule"])
        made.add_client_output_filter(declare, tasks=[TRAIN])
    if plans or any(guarantee_of(step) is not None for step in steps):
        made.add_client_output_filter(
            adapters.PrivacyLedger(
                target_delta=job.target_delta, target_epsilon=job.target_epsilon
            ),
            tasks=[TRAIN],
        )


def _client_args(job: Job, site: str, plan: "DPSGD | None") -> str:
    """Of a site's script: the same for all sites but ``plan`` and canaries.

    The batch size is in the table.
    """
    size = f"{job.spatial_size} {job.spatial_size}"
    options: dict[str, Any] = {
        "local_epochs": job.local_epochs,
        "lr": job.lr,
        "model_path": job.model_path,
        "model_args": format_args(job.factory_args),
        "classes": " ".join(map(quote, job.data.classes)),
        "modality": job.data.modality,
        "spatial_size": size,
        "channels": job.data.channels,
        "mean": " ".join(map(str, job.data.mean)),
        "std": " ".join(map(str, job.data.std)),
        "seed": job.seed,
        "table": format_table(job.table),
        "run_dir": "{WORKSPACE}/{JOB_ID}",
    }
    if job.scale is not None:
        options["scale"] = job.scale
    if job.full_batch:
        options["full_batch"] = ""
    if job.masks:
        options["masks"] = ""
    if any(isinstance(step, Withhold) for step in steps_of(job.defence)):
        options["withheld"] = f"{{WORKSPACE}}/{STATE_DIR}/{{JOB_ID}}/withheld"
    if plan is not None:
        options |= asdict(plan)
    if plan is not None and job.share_metrics:
        options["share_metrics"] = ""
    if site == job.planting_site:
        options["canaries"] = job.canaries
    return " ".join(f"--{name} {value}".rstrip() for name, value in options.items())


def _recorder(job: Job) -> UpdateRecorder:
    criterion = "segmentation_cross_entropy" if job.masks else "cross_entropy"
    return UpdateRecorder(
        model_path=job.model_path,
        model_args=job.factory_args,
        task={"criterion": criterion, "num_classes": job.num_classes},
        input={
            "spatial_size": [job.spatial_size, job.spatial_size],
            "channels": job.data.channels,
            "mean": list(job.data.mean),
            "std": list(job.data.std),
        },
        class_names=list(MASK_CLASSES if job.masks else job.data.classes),
        every_n_rounds=job.every_n_rounds,
        disk_budget_mb=job.disk_budget_mb,
    )
