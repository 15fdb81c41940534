"""Send a made-up update through a site's own chain of filters, in a folder that is thrown away.

For ``medleak doctor``: what leaves is seen, not concluded from a class's name. The site's ledger
and state are neither read nor written.
"""

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.workspace import Workspace
from nvflare.app_common.app_constant import AppConstants

from medleak.filters.adapters.rim import noted_defences
from medleak.filters.allowed import INSTALLED_CLIENT
from medleak.filters.privacy.accounting import Guarantee
from medleak.filters.update import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one update: what left, or the reason why nothing did.

    ``refused`` is None if something left; ``sent`` is then its content, None if it was no
    difference of weights. ``before_training`` tells a refused task from a withheld result.
    ``guarantees`` are those that the chain noted, None for a heuristic.
    """

    refused: str | None = None
    before_training: bool = False
    sent: Mapping[str, Any] | None = None
    kind: str = ""
    guarantees: Sequence[Guarantee | None] = ()


def attempt(
    data_filters: Sequence[Filter],
    result_filters: Sequence[Filter],
    state: Update,
    update: Update,
    *,
    task: str = "train",
    meta: Mapping[str, Any] | None = None,
    weights: bool = False,
) -> Outcome:
    """Hand out ``task`` with the model ``state``, then send ``update`` back, as NVFlare does.

    Args:
        data_filters: Of the task's data, in their order.
        result_filters: Of its result.
        state: The global model.
        update: The difference that training made.
        task: Its name.
        meta: Metadata of the result.
        weights: Send the trained weights themselves instead of the difference.
    """
    with tempfile.TemporaryDirectory(prefix="medleak_doctor_") as folder:
        root = Path(folder)
        for name in ("startup", "local"):
            (root / name).mkdir()
        before = os.getcwd(), logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        os.chdir(root)
        try:
            return _attempt(
                data_filters, result_filters, state, update, _context(root, task), meta, weights
            )
        finally:
            os.chdir(before[0])
            logging.disable(before[1])


def _attempt(
    data_filters: Sequence[Filter],
    result_filters: Sequence[Filter],
    state: Update,
    update: Update,
    ctx: FLContext,
    meta: Mapping[str, Any] | None,
    weights: bool,
) -> Outcome:
    given = DXO(DataKind.WEIGHTS, data={n: np.array(v) for n, v in state.items()}).to_shareable()
    given.set_header(AppConstants.CURRENT_ROUND, 0)
    given.set_header(AppConstants.NUM_ROUNDS, 1)
    ctx.set_prop(FLContextKey.TASK_DATA, given, private=True, sticky=False)
    try:
        for each in data_filters:
            given = each.process(given, ctx)
    except Exception as e:
        return Outcome(refused=_line(e), before_training=True)
    data = {n: np.array(state[n] + v if weights else v) for n, v in update.items()}
    kind = DataKind.WEIGHTS if weights else DataKind.WEIGHT_DIFF
    result: Any = DXO(kind, data=data, meta=dict(meta or {})).to_shareable()
    try:
        for each in result_filters:
            result = each.process(result, ctx)
    except Exception as e:
        return Outcome(refused=_line(e))
    if not isinstance(result, Shareable) or result.get_return_code() != ReturnCode.OK:
        return Outcome(refused="the result was replaced by an error")
    try:
        dxo = from_shareable(result)
    except Exception:
        return Outcome(kind="something that is no DXO")
    guarantees = [g for _, g in noted_defences(ctx)]
    kind = str(getattr(dxo.data_kind, "value", dxo.data_kind))
    sent = dxo.data if isinstance(dxo.data, dict) else None
    return Outcome(sent=sent, kind=kind, guarantees=guarantees)


def _context(root: Path, task: str) -> FLContext:
    """What NVFlare's client knows while it runs a task of an installed job."""
    module, _, name = INSTALLED_CLIENT.rpartition(".")
    executor = type(name, (), {"__module__": module})()
    router = SimpleNamespace(task_table={task: executor}, patterns=[])
    runner = SimpleNamespace(task_router=router, find_executor=lambda _: executor)
    workspace = Workspace(str(root), site_name="site")
    engine = SimpleNamespace(
        get_workspace=lambda: workspace,
        get_all_components=dict,
        handlers=[],
        fire_event=lambda *_: None,
    )
    ctx = FLContext()
    for key, value in (
        (FLContextKey.TASK_NAME, task),
        (FLContextKey.TASK_ID, "canary"),
        (FLContextKey.RUNNER, runner),
        (FLContextKey.WORKSPACE_OBJECT, workspace),
        (FLContextKey.WORKSPACE_ROOT, str(root)),
        (FLContextKey.JOB_META, {}),
        (ReservedKey.IDENTITY_NAME, "site"),
        (ReservedKey.RUN_NUM, "canary"),
        (ReservedKey.ENGINE, engine),
    ):
        ctx.set_prop(key, value, private=True, sticky=False)
    return ctx


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__
