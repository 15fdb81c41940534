"""The filters of a site whose framework is not NVFlare: the same objects, in the same order.

A framework hands over the model that came and what was trained from it; what may leave comes back.
Every refusal of the filters is a ``ContentBlockedException``, and then nothing may leave.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import FLContextKey, ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants

from medleak.filters import adapters, storage
from medleak.filters.adapters.rim import noted_defences
from medleak.filters.defences.composition import Composition
from medleak.filters.defences.defence import Defence
from medleak.filters.registry import declaration, defence
from medleak.filters.update import UpdateError

TASK = "train"
WEIGHT = MetaKey.NUM_STEPS_CURRENT_ROUND
"""Of an update in the average, in its meta."""


def steps_of(text: str) -> Sequence[Defence]:
    """The defences of a text as ``medleak audit --defence`` takes it, in their order.

    Raises:
        ValueError: Unknown or malformed.
    """
    made = defence(text)
    return made.steps if isinstance(made, Composition) else [made]


def filters_of(text: str, *, disclose: Sequence[str] = ()) -> list[Filter]:
    """The result filters of a text of defences; ``disclose`` is for those with a guarantee.

    Raises:
        ValueError: As `steps_of`; or nothing of it has a guarantee to disclose beside.
    """
    made: list[Filter] = []
    used = False
    for step in steps_of(text):
        kind = getattr(adapters, type(step).__name__)
        more: dict[str, Any] = {}
        if disclose and "disclose" in inspect.signature(kind).parameters:
            more, used = {"disclose": list(disclose)}, True
        made.append(kind(**declaration(step)["args"], **more))
    if disclose and not used:
        raise ValueError(
            f"disclose={list(disclose)} is for a mechanism with an ε, and {text!r} has none: what "
            "leaves beside its update leaves anyhow. Leave disclose out."
        )
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What may leave a site.

    Attributes:
        update: local - global of the entries that leave.
        meta: What leaves beside it, the filters' own declarations included.
        guaranteed: A mechanism with an ε was applied: beside the update leaves nothing but meta.
    """

    update: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]
    guaranteed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteChain:
    """The filters of one site.

    Attributes:
        data_filters, result_filters: As NVFlare has them.
        root: The site's own folder, where ledger and state are kept.
        site, job: Names, for the ledger.
    """

    data_filters: Sequence[Filter] = ()
    result_filters: Sequence[Filter] = ()
    root: Path
    site: str
    job: str

    def receive(
        self, state: Mapping[str, np.ndarray], round_number: int | None, task_id: str
    ) -> "Received":
        """Take a model in.

        Raises:
            ContentBlockedException: A filter refuses the round, before training.
        """
        ctx = _context(self, task_id)
        data = {n: np.array(v) for n, v in state.items()}
        task = DXO(DataKind.WEIGHTS, data=data).to_shareable()
        if round_number is not None:
            task.set_header(AppConstants.CURRENT_ROUND, round_number)
        for each in self.data_filters:
            task = each.process(task, ctx)
        ctx.set_prop(FLContextKey.TASK_DATA, task, private=True, sticky=False)
        for each in self.result_filters:
            each.handle_event(EventType.AFTER_TASK_DATA_FILTER, ctx)
        model = {n: np.array(v) for n, v in from_shareable(task).data.items()}
        return Received(chain=self, model=model, ctx=ctx)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A model at a site, to be trained from: ``model``."""

    chain: SiteChain
    model: Mapping[str, np.ndarray]
    ctx: FLContext = field(repr=False)

    def release(self, local: Mapping[str, Any], meta: Mapping[str, Any]) -> Released:
        """What may leave of the weights ``local`` after training.

        Raises:
            ContentBlockedException: A filter withholds the update.
            UpdateError: ``local`` is no state of the model, so no difference can be formed.
        """
        update = _difference(local, self.model)
        result: Shareable = DXO(DataKind.WEIGHT_DIFF, data=update, meta=dict(meta)).to_shareable()
        for each in self.chain.result_filters:
            result = each.process(result, self.ctx)
        if result.get_return_code() != ReturnCode.OK:
            raise UpdateError(f"The filters made {result.get_return_code()} of the update.")
        dxo = from_shareable(result)
        guaranteed = any(guarantee is not None for _, guarantee in noted_defences(self.ctx))
        sent = {n: np.asarray(v) for n, v in dxo.data.items()}
        return Released(update=sent, meta=dict(dxo.meta), guaranteed=guaranteed)


def _difference(local: Mapping[str, Any], model: Mapping[str, np.ndarray]) -> dict[str, Any]:
    update = {}
    for name, value in local.items():
        if name not in model or np.shape(value) != model[name].shape:
            raise UpdateError(
                f"{name} of shape {np.shape(value)} is no entry of the model that was sent, so no "
                "difference can be formed of it. Send the whole state_dict of that model."
            )
        update[name] = np.asarray(value) - model[name]
    return update


def _context(chain: SiteChain, task_id: str) -> FLContext:
    storage.make_private(chain.root)
    workspace = SimpleNamespace(get_root_dir=lambda: str(chain.root))
    engine = SimpleNamespace(get_workspace=lambda: workspace, fire_event=lambda *_: None)
    ctx = FLContext()
    for key, value in (
        (FLContextKey.TASK_NAME, TASK),
        (FLContextKey.TASK_ID, task_id),
        (ReservedKey.IDENTITY_NAME, chain.site),
        (ReservedKey.RUN_NUM, chain.job),
        (ReservedKey.ENGINE, engine),
    ):
        ctx.set_prop(key, value, private=True, sticky=False)
    return ctx
