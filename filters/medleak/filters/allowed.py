"""What a job may name at a site that accepts no code: classes, tasks and networks, one by one.

A package prefix such as ``"nvflare."`` admits executors that run commands, controllers that send
from site to site, and streamers of logs; so these lists hold full names only. The class lists go
into ``local/resources.json`` (``medleak policy`` writes them), NVFlare enforces them when it builds
a job; :class:`medleak.filters.adapters.WorkflowGuard` looks again before each task.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

TASKS = ("train",)
"""Tasks whose results our filters protect; every other one is refused before it starts."""

INSTALLED_CLIENT = "medleak.custom.flare.installed_client.InstalledClient"

_ADAPTERS = "medleak.filters.adapters."
# Guard, LeakageGate and Rehearsal are left out: they take the name of code to run, which is the
# site's to say.
_JOB_FILTERS = (
    *("ClippedGaussian", "ClippedLaplace", "DeclareDPSGD", "GaussianPerturbation", "GlobalModel"),
    *("LaplacePerturbation", "MinimumBatch", "PercentileGaussian", "PlannedBatch", "PrivacyBudget"),
    *("PrivacyLedger", "Quantisation", "RandomK", "RestoreWithheld", "Sentinel", "SentinelNotes"),
    *("Sign", "TopK", "Withhold", "WorkflowGuard"),
)

SITE_CLASSES = (
    INSTALLED_CLIENT,
    "medleak.custom.installed.InstalledClient",
    *(_ADAPTERS + name for name in _JOB_FILTERS),
)
"""All that a job exported with ``--installed`` builds at a site.

``medleak.custom.recorder.SwarmRecorder`` is not on it: it writes to this site's disk what others
sent, which an operator admits knowingly, and is of use in a swarm alone, which is not on it either.
"""

SERVER_CLASSES = (
    *(f"medleak.custom.flare.{name}" for name in ("best_model.BestModelLocator", "fedopt.FedOpt")),
    *(
        f"medleak.custom.flare.{n}"
        for n in ("recorder.UpdateRecorder", "tested_model.GlobalModelScores")
    ),
    "medleak.custom.initial.initial_network",
    "medleak.custom.training.initial.initial_network",
    "nvflare.app_common.aggregators.intime_accumulate_model_aggregator."
    "InTimeAccumulateWeightedAggregator",
    *(
        f"nvflare.app_common.widgets.{name}"
        for name in (
            "intime_model_selector.IntimeModelSelector",
            "metrics_artifact_writer.MetricsArtifactWriter",
            "validation_json_generator.ValidationJsonGenerator",
        )
    ),
    *(
        f"nvflare.app_common.workflows.{name}"
        for name in (
            "fedavg.FedAvg",
            "global_model_eval.GlobalModelEval",
            "scatter_and_gather.ScatterAndGather",
        )
    ),
    "nvflare.app_opt.pt.file_model_persistor.PTFileModelPersistor",
)
"""All that such a job builds at the server."""

WORKFLOWS = frozenset(name for name in SERVER_CLASSES if ".workflows." in name)

_NETWORKS = {
    "medleak.custom.networks.": (
        *("resnet18", "resnet18_groupnorm", "resnet18_cifar"),
        *("densenet121", "densenet121_groupnorm", "unet"),
    ),
    "medleak.custom.small_networks.": ("lenet", "cnn4", "strided_cnn"),
}
NETWORKS = tuple(module + name for module, names in _NETWORKS.items() for name in names)
"""Factories of networks that neither download nor read files, whatever their arguments."""

NETWORKS_VARIABLE = "MEDLEAK_NETWORKS"
"""Environment variable with further networks of the operator's: names or prefixes, split by ':'."""

SITE_FILE = "medleak.json"
"""In a kit's ``local/``: ``{"networks": […]}``, what its operator allows beside ours."""

KIT_FILES = frozenset(
    (
        "resources",
        "job_resources",
        "privacy",
        "authorization",
        "fed_client",
        "comm_config",
        "medleak",
    )
)
"""Files that only a site's operator may write, by their name without what follows the first dot."""

_FORMATS = (".json", ".conf", ".yml", ".yaml")

_OPERATORS = ("local", "startup")


def matches(name: str, entries: Iterable[str]) -> bool:
    """True if ``name`` is an entry, or lies under one that ends with a dot (a prefix)."""
    return any(
        name == e or (e.endswith(".") and len(e) > 1 and name.startswith(e)) for e in entries
    )


def shadows(folder: Path) -> list[Path]:
    """Files in or below ``folder`` that NVFlare could take for a file of a site's own.

    NVFlare 2.9 looks a name up in the kit's whole folder, in whatever order the file system gives,
    so that the folder of a job, running or left there, may come before ``local/``. What an operator
    keeps in ``local/`` and ``startup/`` of ``folder`` itself is no shadow.
    """
    found = []
    for root, folders, names in os.walk(folder):
        if Path(root) == folder:
            folders[:] = [f for f in folders if f not in _OPERATORS]
        found += [Path(root, n) for n in names if _configures(n)]
    return sorted(found)


def _configures(name: str) -> bool:
    stem, dot, rest = name.partition(".")
    return stem in KIT_FILES and (dot + rest).removesuffix(".default") in _FORMATS


# What a class of NVFlare 2.9 can do that no result filter sees, by prefix of its name.
_WAYS_OUT = {
    "nvflare.app_common.ccwf.": "a swarm or cyclic workflow, in which sites send to each other, "
    "peer to peer, past the result filters",
    "nvflare.app_opt.p2p.": "a peer-to-peer workflow, past the result filters",
    "nvflare.app_common.workflows.cyclic": "hands one site's model on to the next",
    "nvflare.app_common.executors.client_api_executor.": "runs a script or a command that the "
    "job names",
    "nvflare.app_common.executors.task_script_runner.": "runs a script that the job names",
    "nvflare.app_common.executors.ipc_exchanger.": "hands data to a process outside of NVFlare",
    "nvflare.app_common.executors.multi_process_executor.": "starts processes that the job names",
    "nvflare.app_opt.pt.multi_process_executor.": "starts processes that the job names",
    "nvflare.app_common.job_launcher.": "starts processes",
    "nvflare.app_opt.job_launcher.": "starts processes or containers",
    "nvflare.app_opt.flower.": "Flower's own messages pass no filter of NVFlare: protect inside "
    "the Flower app, with medleak.custom.flower",
    "nvflare.app_opt.xgboost.": "XGBoost's own messages pass no filter",
    "nvflare.app_common.tie.": "another system's own messages pass no filter",
    "nvflare.app_common.logging.": "streams logs to the server, past the filters",
    "nvflare.app_common.widgets.convert_to_fed_event.": "sends events, such as losses, to the "
    "server, past the filters",
    "nvflare.app_common.widgets.metric_relay.": "sends metrics past the filters",
    "nvflare.app_common.widgets.streaming.": "streams metrics past the filters",
    "nvflare.app_common.metrics_exchange.": "sends metrics past the filters",
    "nvflare.app_opt.tracking.": "sends metrics past the filters",
    "nvflare.app_common.streamers.": "streams files or objects past the filters",
    "nvflare.app_opt.tensor_stream.": "streams tensors past the filters",
    "nvflare.app_common.psi.": "sends other data than an update",
    "nvflare.app_opt.psi.": "sends other data than an update",
    "nvflare.app_common.executors.statistics.": "sends statistics, not an update",
    "nvflare.edge.": "edge devices' own messages pass no filter",
    "nvflare.private.": "belongs to NVFlare's own machinery",
}


def way_out(name: str) -> str | None:
    """What the NVFlare class ``name`` does past the filters; None if that is not known."""
    return next((why for prefix, why in _WAYS_OUT.items() if name.startswith(prefix)), None)


_NO_TASKS = (
    *("nvflare.app_common.ccwf.", "nvflare.app_common.tie.", "nvflare.app_opt.flower."),
    *("nvflare.app_opt.p2p.", "nvflare.app_opt.xgboost.", "nvflare.edge."),
)


def past_filters(name: str) -> str | None:
    """Why updates of the executor or workflow ``name`` are no results of tasks; None if they are.

    Result filters and a server's recorder, which NVFlare calls for results of tasks, would never
    be called.
    """
    return way_out(name) if name.startswith(_NO_TASKS) else None


def updates_past_filters(kind: type) -> str | None:
    """As `past_filters`; a subclass in a job's own code is what its bases are."""
    names = (f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)
    return next((why for name in names if (why := past_filters(name))), None)


DANGEROUS = (
    "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor",
    "nvflare.app_common.ccwf.swarm_client_ctl.SwarmClientController",
    "nvflare.app_common.ccwf.SwarmClientController",
    "nvflare.app_common.ccwf.cyclic_client_ctl.CyclicClientController",
    "nvflare.app_common.ccwf.CyclicClientController",
    "nvflare.app_common.ccwf.cse_client_ctl.CrossSiteEvalClientController",
    "nvflare.app_common.ccwf.CrossSiteEvalClientController",
    "nvflare.app_common.logging.job_log_streamer.JobLogStreamer",
    "nvflare.app_common.widgets.convert_to_fed_event.ConvertToFedEvent",
    "nvflare.app_common.executors.multi_process_executor.MultiProcessExecutor",
    "nvflare.app_common.executors.ipc_exchanger.IPCExchanger",
    "nvflare.app_common.executors.model_learner_executor.ModelLearnerExecutor",
    "nvflare.app_common.executors.statistics.statistics_executor.StatisticsExecutor",
    "nvflare.app_opt.flower.executor.FlowerExecutor",
    "nvflare.app_opt.tracking.tb.tb_writer.TBWriter",
    "nvflare.app_opt.tracking.mlflow.mlflow_writer.MLflowWriter",
    "nvflare.app_opt.xgboost.histogram_based_v2.fed_executor.FedXGBHistogramExecutor",
    "nvflare.app_opt.xgboost.tree_based.executor.FedXGBTreeExecutor",
    "nvflare.app_common.psi.psi_executor.PSIExecutor",
    _ADAPTERS + "Guard",
    _ADAPTERS + "LeakageGate",
    _ADAPTERS + "Rehearsal",
    "medleak.custom.training.initial.initial_network",
    "medleak.custom.initial.initial_network",
)
"""Classes that no site needs to let a job build: probes of a class allow-list."""


def site_networks(local: Path) -> tuple[str, ...]:
    """Networks that the operator allows beside ours, from ``medleak.json`` in a kit's ``local``.

    Raises:
        ValueError: The file is there and says something else.
    """
    file = local / SITE_FILE
    if not file.is_file():
        return ()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as e:
        raise ValueError(f"local/{SITE_FILE} is no JSON ({e}): write {{'networks': […]}}.") from e
    named = content.get("networks", []) if isinstance(content, dict) else None
    if not isinstance(named, list) or not all(isinstance(n, str) and "." in n for n in named):
        raise ValueError(f'local/{SITE_FILE} must be {{"networks": ["package.", …]}}.')
    return tuple(named)
