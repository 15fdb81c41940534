"""The server's recorder: what the server sees of every site, written as it arrives."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants
from pydantic import ValidationError

from medleak.custom import record
from medleak.custom.flare.sent_models import SentModel, SentModels
from medleak.custom.record import (
    SCHEDULE,
    LeftOut,
    Manifest,
    RecordError,
    UpdateInfo,
    check_site,
    utc_now,
)
from medleak.custom.record.tensors import as_arrays, check_update, difference
from medleak.filters.update import DECLARED

DECLARED_LEDGER = "medleak_ledger"
_GUARANTEED = ("clipped_gaussian", "clipped_laplace", "dp_sgd")  # may hide the schedule

_PACKAGES = ("medleak", "nvflare", "torch", "torchvision", "monai", "numpy", "safetensors")


class UpdateRecorder(Filter):
    """Record the model sent and every update received; see :mod:`medleak.custom.record`.

    One object serves both sides of a round: as a handler of ``AFTER_TASK_DATA_FILTER`` it sees
    the model that goes out, as the server's ``task_result`` filter the update as received, after
    all filters of the site. It changes nothing. What cannot be recorded stops the job: an audit
    of a record with silent gaps would call sites safe that nobody looked at. Homomorphically
    encrypted updates are the exception: nobody at the server can read them, so the manifest says
    that they were left out, and the job goes on. So it does for an update whose guarantee hides how
    the site trained. What the job or a site does not say is recorded as unknown: whoever audits can
    say it then.

    Args:
        model_path: Importable factory of the network, where the audit runs. (NVFlare would build
            an argument of the form ``{"path", "args"}`` itself.) None: not known.
        model_args: Its keyword arguments.
        task: ``{"criterion", "num_classes"}``; None: not known.
        input: ``{"spatial_size", "channels", "mean", "std"}``; None: not known.
        class_names: In the order of the labels.
        every_n_rounds: Keep rounds 0, n, 2n, ...
        sites: Keep these sites only; None keeps all.
        disk_budget_mb: Stop recording (not the job) before the record is larger than this;
            what is left out is said in the manifest. None: no limit.
        tasks: Names of the tasks whose results are updates.
    """

    _always_serialize_args = ("every_n_rounds", "sites", "disk_budget_mb")

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
        tasks: list[str] | None = None,
    ) -> None:
        """Take the plain values that the job's JSON can hold, and check them."""
        super().__init__()
        if every_n_rounds < 1:
            raise ValueError(f"every_n_rounds must be at least 1, got {every_n_rounds}.")
        if disk_budget_mb is not None and not disk_budget_mb > 0:
            raise ValueError(f"disk_budget_mb must be above 0 or null, got {disk_budget_mb}.")
        self.model_path = model_path
        self.model_args = model_args
        self.task = task
        self.input = input
        self.class_names = class_names
        self.every_n_rounds = every_n_rounds
        self.sites = sites
        self.disk_budget_mb = disk_budget_mb
        self.tasks = tasks
        self._check_declaration()
        self._lock = Lock()
        self._manifest: Manifest | None = None
        self._root: Path | None = None
        self._sent = SentModels()
        self._failure: Exception | None = None
        self._bytes = 0

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Open the record when the run starts; take note of every model that goes out."""
        try:
            if event_type == EventType.START_RUN:
                with self._lock:
                    self._open(fl_ctx)
            elif event_type == EventType.AFTER_TASK_DATA_FILTER and self._is_ours(fl_ctx):
                with self._lock:
                    self._note_model(_site(fl_ctx), fl_ctx.get_prop(FLContextKey.TASK_DATA))
        except Exception as error:
            # NVFlare only logs what an event handler raises: keep it for process(), which counts.
            self._failure = error
            self.log_error(fl_ctx, f"Recording failed: {error}")

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Record one update and pass it on untouched.

        Raises:
            RecordError: The update, or the model that it belongs to, cannot be recorded.
        """
        if not self._is_ours(fl_ctx) or shareable.get_return_code() != ReturnCode.OK:
            return shareable
        with self._lock:
            if self._failure is not None:
                raise RecordError(f"Recording failed: {self._failure}") from self._failure
            self._record(shareable, fl_ctx)
        return shareable

    def _is_ours(self, fl_ctx: FLContext) -> bool:
        return fl_ctx.get_prop(FLContextKey.TASK_NAME) in (self.tasks or ["train"])

    def _open(self, fl_ctx: FLContext) -> None:
        engine = fl_ctx.get_engine()
        if engine is None:
            raise RecordError("The server has no engine, so no run directory to record into.")
        run_dir = Path(engine.get_workspace().get_run_dir(fl_ctx.get_job_id()))
        self._root = run_dir / "records"
        self._manifest = Manifest.model_validate(
            {
                "job": _job_name(fl_ctx),
                "created": utc_now(),
                **self._declaration(),
                "versions": {p: version(p) for p in _PACKAGES}
                | {"python": platform.python_version()},
            }
        )
        record.write_manifest(self._root, self._manifest)

    def _declaration(self) -> dict[str, Any]:
        """What the job says of its network, task and images, as a manifest has it."""
        model = {"path": self.model_path, "args": self.model_args or {}}
        return {
            "model": model if self.model_path else None,
            "task": self.task,
            "input": self.input,
            "class_names": self.class_names or [],
        }

    def _check_declaration(self) -> None:
        try:
            Manifest.model_validate({"job": "", "created": "", **self._declaration()})
        except ValidationError as error:
            raise ValueError(
                f"The recorder cannot use {_first(error)}. Correct it, or leave it out: what is "
                "not known can be said when the record is audited."
            ) from None

    def _note_model(self, site: str, task_data: Shareable | None) -> None:
        if task_data is None:
            raise RecordError("The model that was sent is not visible to the recorder.")
        dxo = from_shareable(task_data)
        round = task_data.get_header(AppConstants.CURRENT_ROUND)
        if not isinstance(round, int):
            raise RecordError(
                f"The model that was sent to {site!r} says no round ({round!r}): its updates could "
                "not be told apart. Record a workflow that counts rounds."
            )
        where = f"The model of round {round}"
        sent = {} if _encrypted(dxo) else as_arrays(where, dxo.data)
        self._sent.note(site, round, sent)

    def _record(self, shareable: Shareable, fl_ctx: FLContext) -> None:
        site = check_site(_site(fl_ctx))
        if self._root is None:
            raise RecordError("The run was never begun: there is no folder to record into.")
        sent = self._sent.answered(site, shareable.get_cookie(AppConstants.CONTRIBUTION_ROUND))
        round = sent.round
        dxo = from_shareable(shareable)
        if encrypted := _encrypted(dxo):
            self._leave_out(LeftOut(round=round, site=site, reason=encrypted))
            self.log_info(fl_ctx, f"Round {round} of {site}: {encrypted}")
            return
        if reason := _hides_its_schedule(dxo):
            self._leave_out(LeftOut(round=round, site=site, reason=reason))
            self.log_info(fl_ctx, f"Round {round} of {site}: {reason}")
            return
        update = _update(f"Round {round}, site {site}", dxo, sent)
        if reason := self._reason_to_leave_out(site, sent, update):
            self._leave_out(LeftOut(round=round, site=site, reason=reason))
            return
        if sent.digest is None:
            sent.digest = record.write_global(self._root, round, sent.arrays, several=True)
            self._bytes += _nbytes(sent.arrays)
        info, unusable = _info(round, site, dxo)
        if unusable:
            self.log_warning(
                fl_ctx,
                f"Round {round} of {site}: of its schedule is recorded as unknown what no training "
                f"has: {'; '.join(unusable)}",
            )
        record.write_update(self._root, info, sent.digest, update)
        self._bytes += _nbytes(update)
        self.log_info(fl_ctx, f"Recorded round {round} of {site} in {self._root}")

    def _reason_to_leave_out(
        self, site: str, sent: SentModel, update: Mapping[str, Any]
    ) -> str | None:
        if sent.round % self.every_n_rounds:
            return f"every_n_rounds={self.every_n_rounds}"
        if self.sites is not None and site not in self.sites:
            return "sites"
        if self.disk_budget_mb is not None:
            more = _nbytes(update) + (_nbytes(sent.arrays) if sent.digest is None else 0)
            if self._bytes + more > self.disk_budget_mb * 1e6:
                return f"disk_budget_mb={self.disk_budget_mb:g}"
        return None

    def _leave_out(self, left_out: LeftOut) -> None:
        if self._manifest is None or self._root is None:
            raise RecordError("The run was never begun: there is no manifest to note this in.")
        everything = (*self._manifest.left_out, left_out)
        self._manifest = self._manifest.model_copy(update={"left_out": everything})
        record.write_manifest(self._root, self._manifest)


def _site(fl_ctx: FLContext) -> str:
    """Who is at the other end; empty where NVFlare does not say."""
    peer = fl_ctx.get_peer_context()
    return peer.get_identity_name() if peer else ""


def _update(where: str, dxo: DXO, sent: SentModel) -> dict[str, np.ndarray]:
    """local - global of an update of either kind, after all checks."""
    if dxo.data_kind not in (DataKind.WEIGHT_DIFF, DataKind.WEIGHTS):
        raise RecordError(
            f"{where}: an update of kind {dxo.data_kind!s} cannot be recorded: it must be "
            "WEIGHT_DIFF (params_transfer_type DIFF) or WEIGHTS."
        )
    update = as_arrays(where, dxo.data)
    if dxo.data_kind == DataKind.WEIGHTS:
        update = difference(where, update, sent.arrays)
    check_update(where, sent.arrays, update)
    return update


def _info(round: int, site: str, dxo: DXO) -> tuple[UpdateInfo, list[str]]:
    """The schedule as the site declares it in the ``hp`` of its update, and what is unusable."""
    defences = dxo.get_meta_prop(DECLARED) or []
    said = dxo.get_meta_prop(DECLARED_LEDGER)
    ledger = {k: said.get(k) for k in ("entries", "head")} if isinstance(said, dict) else None
    ours = {"round": round, "site": site, "time": utc_now()}
    declared = dxo.get_meta_prop("hp")
    hp = declared if isinstance(declared, dict) else {}
    schedule, unusable = {}, []
    for field in SCHEDULE:
        if (value := _plain(hp.get(field))) is None:
            continue
        try:
            UpdateInfo.model_validate({**ours, field: value})
        except ValidationError as error:
            unusable.append(f"{_first(error)}, got {str(value)[:40]}")
        else:
            schedule[field] = value
    try:
        words = {"defences": defences, "ledger": ledger}
        return UpdateInfo.model_validate({**ours, **schedule, **words}), unusable
    except ValidationError as error:
        raise RecordError(
            f"{site} declared an unusable defence or ledger: {_first(error)}. Correct its filters."
        ) from None


def _plain(value: Any) -> Any:
    """A number of numpy or torch as Python's; all else as it is."""
    return value.item() if callable(getattr(value, "item", None)) else value


def _first(error: ValidationError) -> str:
    """The first wrong field, and what is wrong with it."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _hides_its_schedule(dxo: DXO) -> str:
    """Why an update without a schedule is not recorded; empty if it has one, or has no right to."""
    defences = dxo.get_meta_prop(DECLARED)
    named = [d.get("name") for d in defences if isinstance(d, dict)] if defences else []
    if dxo.get_meta_prop("hp") is not None or not set(named) & set(_GUARANTEED):
        return ""
    return (
        "its guarantee hides the training schedule, without which no attack can be judged; to "
        'audit it, the site\'s mechanism must disclose=["schedule"]'
    )


def _encrypted(dxo: DXO) -> str:
    """Why an encrypted DXO is not recorded; empty if it is in clear."""
    hidden = [n for n, v in dxo.data.items() if type(v).__module__.startswith("tenseal")]
    if not hidden:
        return ""
    if len(hidden) == len(dxo.data):
        return "encrypted homomorphically: there is nothing to audit at the server"
    return (
        f"{len(hidden)} of {len(dxo.data)} tensors are encrypted homomorphically; what is in clear "
        "beside them is not recorded, and not audited"
    )


def _nbytes(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(value.nbytes for value in arrays.values())


def _job_name(fl_ctx: FLContext) -> str:
    meta = fl_ctx.get_prop(FLContextKey.JOB_META)
    name = meta.get("name") if isinstance(meta, dict) else None
    return str(name or fl_ctx.get_prop(ReservedKey.RUN_NUM) or "unnamed")
