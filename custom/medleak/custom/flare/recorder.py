"""The server's recorder: what the server sees of every site, written as it arrives."""

import platform
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from nvflare.apis.dxo import from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants
from pydantic import ValidationError

from medleak.custom import record
from medleak.custom.flare.received import control_of, encrypted, told_by_controls, update_of
from medleak.custom.record import (
    LeftOut,
    Manifest,
    RecordError,
    UpdateInfo,
    check_site,
    utc_now,
)
from medleak.custom.record.compression import require_zstandard
from medleak.custom.record.declared import declared_info, hides_schedule
from medleak.custom.record.keeping.budget import Need
from medleak.custom.record.sent_models import SentModel, SentModels
from medleak.custom.record.tensors import as_arrays
from medleak.custom.record.texts import first_error
from medleak.filters.adapters.attendance import Attendance
from medleak.filters.allowed import updates_past_filters
from medleak.filters.privacy.controls import CONTROLS, SERVERS
from medleak.filters.update import DECLARED

_LEDGER = "medleak_ledger"
_STREAMS = "nvflare.app_opt.tensor_stream."
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
            what is left out is said in the manifest, and as far as it can be told, in the log when
            the first model goes out. None: no limit.
        compress: Compress tensors without loss (Zstandard, the extra zstd); the budget counts them
            as they were before.
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
        compress: bool = False,
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
        self.compress = compress
        self._check_declaration()
        self._lock = Lock()
        self._manifest: Manifest | None = None
        self._root: Path | None = None
        self._sent = SentModels()
        self._failure: Exception | None = None
        self._bytes = 0
        self._foretold = disk_budget_mb is None
        self._refused: Counter[str] = Counter()
        self._attendance = Attendance(self._ours, processes=False)

    @property
    def _ours(self) -> list[str]:
        return self.tasks or ["train"]

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Open the record when the run starts; take note of every model that goes out."""
        try:
            if event_type == EventType.START_RUN:
                with self._lock:
                    self._open(fl_ctx)
                if why := _sends_nothing_here(fl_ctx):
                    self.system_panic(f"Nothing would be recorded: {why}", fl_ctx)
            elif event_type == EventType.AFTER_TASK_DATA_FILTER:
                self._attendance.task_came(fl_ctx)
                if self._is_ours(fl_ctx):
                    with self._lock:
                        self._note_model(_site(fl_ctx), fl_ctx.get_prop(FLContextKey.TASK_DATA))
                        self._foretell(fl_ctx)
            elif event_type == EventType.END_RUN:
                with self._lock:
                    self._close(fl_ctx)
        except Exception as error:
            # NVFlare only logs what an event handler raises: keep it for process(), which counts.
            self._failure = error
            self.log_error(fl_ctx, f"Recording failed: {error}")

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        """Record one update and pass it on untouched.

        Raises:
            RecordError: The update, or the model that it belongs to, cannot be recorded.
        """
        if not self._is_ours(fl_ctx):
            return shareable
        if (code := shareable.get_return_code()) != ReturnCode.OK:
            self._refused[str(code)] += 1
            return shareable
        self._attendance.result_came(fl_ctx)
        with self._lock:
            if self._failure is not None:
                raise RecordError(f"Recording failed: {self._failure}") from self._failure
            self._record(shareable, fl_ctx)
        return shareable

    def _is_ours(self, fl_ctx: FLContext) -> bool:
        return fl_ctx.get_prop(FLContextKey.TASK_NAME) in self._ours

    def _open(self, fl_ctx: FLContext) -> None:
        engine = fl_ctx.get_engine()
        if engine is None:
            raise RecordError("The server has no engine, so no run directory to record into.")
        if self.compress:
            require_zstandard("The recorder's compress=True")
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

    def _close(self, fl_ctx: FLContext) -> None:
        """Say so, in the log and in the manifest, if nothing came in the whole run."""
        nothing = self._attendance.silence(fl_ctx)
        if not nothing or self._manifest is None or self._root is None:
            return
        codes = ", ".join(f"{n} of {code}" for code, n in sorted(self._refused.items()))
        why = _sends_nothing_here(fl_ctx) or (
            f"{nothing}; sites answered with errors ({codes})" if codes else nothing
        )
        self._manifest = self._manifest.model_copy(update={"silence": why})
        record.write_manifest(self._root, self._manifest)
        self.log_error(fl_ctx, f"Nothing was recorded in {self._root}: {why}", fire_event=False)

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
                f"The recorder cannot use {first_error(error)}. Correct it, or leave it out: what "
                "is not known can be said when the record is audited."
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
        sent = {} if encrypted(dxo) else as_arrays(where, dxo.data)
        self._sent.note(site, round, sent, control_of(where, dxo.meta, SERVERS))

    def _foretell(self, fl_ctx: FLContext) -> None:
        """Say once, when the first model has gone out, what the budget will leave out."""
        latest = self._sent.latest
        if self._foretold or latest is None or self.disk_budget_mb is None:
            return
        self._foretold = True
        task, engine = fl_ctx.get_prop(FLContextKey.TASK_DATA), fl_ctx.get_engine()
        if task is None or engine is None:
            return
        said = task.get_header(AppConstants.NUM_ROUNDS)
        rounds = fl_ctx.get_prop(AppConstants.NUM_ROUNDS) if said is None else said
        sites = {client.name for client in engine.get_clients()}
        kept = sites if self.sites is None else sites & set(self.sites)
        if not kept or not isinstance(rounds, int) or rounds < 1:
            return  # the workflow does not say how long it will be
        need = Need(
            model_bytes=_nbytes(latest.arrays),
            sites=len(kept),
            rounds=rounds,
            every_n_rounds=self.every_n_rounds,
        )
        if said := need.left_out(self.disk_budget_mb * 1e6):
            self.log_warning(fl_ctx, f"disk_budget_mb={self.disk_budget_mb:g}: {said}")

    def _record(self, shareable: Shareable, fl_ctx: FLContext) -> None:
        site = check_site(_site(fl_ctx))
        if self._root is None:
            raise RecordError("The run was never begun: there is no folder to record into.")
        sent = self._sent.answered(site, shareable.get_cookie(AppConstants.CONTRIBUTION_ROUND))
        round = sent.round
        dxo = from_shareable(shareable)
        schedule, defences = dxo.get_meta_prop("hp"), dxo.get_meta_prop(DECLARED)
        if reason := encrypted(dxo) or hides_schedule(defences, schedule):
            self._leave_out(LeftOut(round=round, site=site, reason=reason))
            self.log_info(fl_ctx, f"Round {round} of {site}: {reason}")
            return
        update = update_of(f"Round {round}, site {site}", dxo, sent)
        if reason := self._reason_to_leave_out(site, sent, update):
            self._leave_out(LeftOut(round=round, site=site, reason=reason))
            return
        if sent.digest is None:
            sent.digest = record.write_global(
                self._root, round, sent.arrays, several=True, compress=self.compress
            )
            self._bytes += _nbytes(sent.arrays)
        info, unusable = declared_info(
            round, site, schedule, defences=defences, ledger=dxo.get_meta_prop(_LEDGER)
        )
        if unusable:
            self.log_warning(
                fl_ctx,
                f"Round {round} of {site}: of its schedule is recorded as unknown what no training "
                f"has: {'; '.join(unusable)}",
            )
        controls = control_of(f"Round {round}, site {site}", dxo.meta, CONTROLS)
        beside = {CONTROLS: controls} if controls else {}
        record.write_update(
            self._root, info, sent.digest, update, beside=beside, compress=self.compress
        )
        self._bytes += _nbytes(update) + _nbytes(controls)
        self._record_told(update, controls, sent, info)
        self.log_info(fl_ctx, f"Recorded round {round} of {site} in {self._root}")

    def _record_told(
        self,
        update: Mapping[str, Any],
        controls: Mapping[str, Any],
        sent: SentModel,
        info: UpdateInfo,
    ) -> None:
        """Where control variates tell another update than the one that came, record that as well.

        So an update that was protected, with its control in clear beside it, is attacked in clear.
        """
        if not controls or self._root is None or sent.digest is None:
            return
        told = told_by_controls(update, controls, sent, info.model_dump())
        if told is None:
            return
        other = info.model_copy(update={"site": f"{info.site}.{CONTROLS}", "defences": ()})
        if told:
            record.write_update(self._root, other, sent.digest, told, compress=self.compress)
            self._bytes += _nbytes(told)
        else:
            reason = "it tells another update than the site sent, of unknown size: give hp"
            self._leave_out(LeftOut(round=info.round, site=other.site, reason=reason))

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


def _sends_nothing_here(fl_ctx: FLContext) -> str:
    """Why no update of any workflow of the job comes by the recorder; empty if one may."""
    config = getattr(fl_ctx.get_prop(FLContextKey.RUNNER), "config", None)
    for part in (getattr(config, "components", None) or {}).values():
        if type(part).__module__.startswith(_STREAMS):
            return (
                f"{type(part).__name__} streams the model's tensors and takes them out of the "
                "task before the recorder sees it. Remove it: NVFlare sends large models in pieces "
                "anyhow"
            )
    kinds = [type(w.controller) for w in getattr(config, "workflows", None) or []]
    reasons = [f"{kind.__name__}: {updates_past_filters(kind) or ''}" for kind in kinds]
    return "" if any(r.endswith(": ") for r in reasons) else "; ".join(reasons)


def _site(fl_ctx: FLContext) -> str:
    """Who is at the other end; empty where NVFlare does not say."""
    peer = fl_ctx.get_peer_context()
    return peer.get_identity_name() if peer else ""


def _nbytes(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(value.nbytes for value in arrays.values())


def _job_name(fl_ctx: FLContext) -> str:
    meta = fl_ctx.get_prop(FLContextKey.JOB_META)
    name = meta.get("name") if isinstance(meta, dict) else None
    return str(name or fl_ctx.get_prop(ReservedKey.RUN_NUM) or "unnamed")
