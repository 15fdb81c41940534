"""A client's context as NVFlare makes it around one task."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable


class Site:
    """One site: hands out a task, runs the chain of result filters, returns what leaves."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def task(
        self, state, *, name="train", task_id="t1", round_number=3, job="job-1"
    ) -> tuple[FLContext, Shareable]:
        data = DXO(DataKind.WEIGHTS, data=state).to_shareable()
        data.set_header("current_round", round_number)
        workspace = SimpleNamespace(get_root_dir=lambda: str(self.root))
        ctx = FLContext()
        for key, value in (
            (FLContextKey.TASK_DATA, data),
            (FLContextKey.TASK_NAME, name),
            (FLContextKey.TASK_ID, task_id),
            (ReservedKey.IDENTITY_NAME, "site-1"),
            (ReservedKey.RUN_NUM, job),
            (ReservedKey.ENGINE, SimpleNamespace(get_workspace=lambda: workspace)),
        ):
            ctx.set_prop(key, value, private=True, sticky=False)
        return ctx, data

    @staticmethod
    def result(update, **meta) -> Shareable:
        """A training result as the Client API sends it."""
        return DXO(DataKind.WEIGHT_DIFF, data=dict(update), meta=meta).to_shareable()

    def send(self, filters, result: Shareable, state, **kwargs) -> DXO:
        """What leaves after ``filters``, in the order that NVFlare applies them."""
        chain = filters if isinstance(filters, list) else [filters]
        ctx, _ = self.task(state, **kwargs)
        for filter_ in chain:
            filter_.handle_event(EventType.AFTER_TASK_DATA_FILTER, ctx)
        return self.through(chain, result, ctx)

    @staticmethod
    def through(filters, result: Shareable, ctx: FLContext) -> DXO:
        """What leaves of a task whose model was seen already."""
        for filter_ in filters:
            result = filter_.process(result, ctx)
        return from_shareable(result)


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)
