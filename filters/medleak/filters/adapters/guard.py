"""NVFlare's own filters, held to the contract of ours."""

import copy
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.filter import Filter
from nvflare.apis.fl_context import FLContext

from medleak.filters.adapters.rim import (
    FailClosedFilter,
    global_model,
    note_defence,
    of_the_site,
)
from medleak.filters.buffers import keep_variances_positive
from medleak.filters.update import UpdateError, Value, check_update, kinds

_NVFLARES = "nvflare.app_common.filters."


class Guard(FailClosedFilter):
    """Run another NVFlare filter, such as ``PercentilePrivacy`` or ``SVTPrivacy``, fail-closed.

    Before: everything that :class:`FailClosedFilter` refuses. After: names that the update had,
    the shapes and dtypes it had, finite values; counters as they were (those filters count them as
    weights) and running variances that stay positive at the server. No promise is added to
    what the inner filter computes, ε: none. Single-number parameters pass both unchanged.

    Args:
        filter_path: Class of the inner filter, such as
            ``"nvflare.app_common.filters.percentile_privacy.PercentilePrivacy"``.
        settings: Its arguments.
        tasks: Protected tasks.
    """

    _always_serialize_args: ClassVar = ("filter_path", "settings", "tasks")

    def __init__(
        self,
        filter_path: str,
        settings: Mapping[str, Any] | None = None,
        tasks: Sequence[str] = ("train",),
    ) -> None:
        """Take the inner filter's name; one of NVFlare's own is built here already."""
        super().__init__(tasks)
        self.filter_path, self.settings = filter_path, dict(settings or {})
        self._inner = self._build() if filter_path.startswith(_NVFLARES) else None

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Pass events on: inner filters count or load keys at the start of a run."""
        super().handle_event(event_type, fl_ctx)
        self._built().handle_event(event_type, fl_ctx)

    def _built(self) -> Filter:
        """The inner filter. A name that is none of NVFlare's is imported for the site alone."""
        if self._inner is None:
            if not of_the_site(self):
                raise UpdateError(
                    f"filter_path={self.filter_path!r} is none of NVFlare's filters, and not the "
                    "site's own policy names it: it was not imported. Name it in privacy.json."
                )
            self._inner = self._build()
        return self._inner

    def _build(self) -> Filter:
        module, _, name = self.filter_path.rpartition(".")
        cls = getattr(importlib.import_module(module), name)
        if not (isinstance(cls, type) and issubclass(cls, Filter)):
            raise ValueError(f"filter_path={self.filter_path!r} is no NVFlare Filter.")
        return cls(**self.settings)

    def protect(
        self, update: Mapping[str, Any], meta: dict[str, Any], fl_ctx: FLContext
    ) -> Mapping[str, Any]:
        """Filter a copy, then check what came back against what went in."""
        # These filters work in place on float arrays; scalars and integers break their arithmetic.
        given = {n: np.array(v, dtype=_float(v)) for n, v in update.items()}
        dxo = DXO(DataKind.WEIGHT_DIFF, data=given, meta=copy.deepcopy(meta))
        reply = from_shareable(self._built().process(dxo.to_shareable(), fl_ctx))
        if reply.data_kind != DataKind.WEIGHT_DIFF:
            kind = getattr(reply.data_kind, "value", reply.data_kind)
            raise UpdateError(
                f"{self.filter_path} turned the update into {kind}: whole weights or other data "
                "would leave bare. Use a filter that keeps differences."
            )
        kind_of = kinds(update)
        result = {
            n: update[n] if kind_of.get(n) == "counter" else _like(n, v, update)
            for n, v in reply.data.items()
        }
        state, _ = global_model(fl_ctx)
        check_update(result, state)
        meta.update(reply.meta)
        args = {"filter_path": self.filter_path, "settings": self.settings}
        note_defence({"name": "nvflare_guard", "args": args}, None, meta, fl_ctx)
        return keep_variances_positive(result, kind_of, state)


def _float(value: Value) -> np.dtype[Any]:
    return value.dtype if value.dtype.kind == "f" else np.dtype(np.float64)


def _like(name: str, value: Any, update: Mapping[str, Any]) -> Value:
    if name not in update or np.shape(value) != np.shape(update[name]):
        raise UpdateError(
            f"The inner filter returned {name} of shape {np.shape(value)}; the update has none."
        )
    restored = np.asarray(value).astype(update[name].dtype)
    return restored[()] if isinstance(update[name], np.generic) else restored
