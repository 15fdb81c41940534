"""What both recorders are to NVFlare: components with one set of arguments, from a job's JSON."""

from pathlib import Path
from typing import Any, ClassVar

from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext

from medleak.custom.flare.recording import Recording
from medleak.custom.record import RecordError


class RecordingComponent(FLComponent):
    """A component that writes a record. What it is not told is recorded as unknown.

    Args:
        model_path: Importable factory of the network, where the audit runs. (NVFlare would build
            an argument of the form ``{"path", "args"}`` itself.) None: not known.
        model_args: Its keyword arguments.
        task: ``{"criterion", "num_classes"}``; None: not known.
        input: ``{"spatial_size", "channels", "mean", "std"}``; None: not known.
        class_names: In the order of the labels.
        every_n_rounds: Keep rounds 0, n, 2n, ...
        sites: Keep these sites only; None keeps all.
        disk_budget_mb: Stop recording (not the job) before the record is larger than this; what is
            left out is said in the manifest. None: no limit.
        compress: Compress tensors without loss (Zstandard, the extra zstd); the budget counts them
            as they were before.
    """

    _always_serialize_args: ClassVar = ("every_n_rounds", "sites", "disk_budget_mb")

    def __init__(
        self,
        model_path: str | None = None,
        model_args: dict[str, Any] | None = None,
        task: dict[str, Any] | None = None,
        input: dict[str, Any] | None = None,
        class_names: list[str] | None = None,
        every_n_rounds: int = 1,
        sites: list[str] | None = None,
        disk_budget_mb: float | None = None,
        compress: bool = False,
    ) -> None:
        """Take the plain values that the job's JSON can hold, and check them."""
        super().__init__()
        # An exported job gets its arguments from attributes of their names.
        self.model_path = model_path
        self.model_args = model_args
        self.task = task
        self.input = input
        self.class_names = class_names
        self.every_n_rounds = every_n_rounds
        self.sites = sites
        self.disk_budget_mb = disk_budget_mb
        self.compress = compress
        self._recording = Recording(
            {
                "model": {"path": model_path, "args": model_args or {}} if model_path else None,
                "task": task,
                "input": input,
                "class_names": class_names or [],
            },
            every_n_rounds=every_n_rounds,
            sites=sites,
            disk_budget_mb=disk_budget_mb,
            compress=compress,
        )


def site_of(fl_ctx: FLContext) -> str:
    """Who is at the other end; empty where NVFlare does not say."""
    peer = fl_ctx.get_peer_context()
    return peer.get_identity_name() if peer else ""


def run_dir_of(fl_ctx: FLContext) -> Path:
    """The run directory of the job.

    Raises:
        RecordError: There is no engine, so none.
    """
    engine = fl_ctx.get_engine()
    if engine is None:
        raise RecordError("There is no engine, so no run directory to record into.")
    return Path(engine.get_workspace().get_run_dir(fl_ctx.get_job_id()))


def job_name(fl_ctx: FLContext) -> str:
    """As the job's meta has it."""
    meta = fl_ctx.get_prop(FLContextKey.JOB_META)
    name = meta.get("name") if isinstance(meta, dict) else None
    return str(name or fl_ctx.get_prop(ReservedKey.RUN_NUM) or "unnamed")
