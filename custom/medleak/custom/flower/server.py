"""A Flower server's recorder: what each client sent, in a record as NVFlare's jobs have it."""

import copy
import functools
import logging
import platform
import types
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord  # pyright: ignore[reportMissingImports]
from flwr.serverapp import Grid  # pyright: ignore[reportMissingImports]
from flwr.serverapp.strategy import Result, Strategy  # pyright: ignore[reportMissingImports]

from medleak.custom import record
from medleak.custom.flower.messages import SCHEDULE, arrays_key, arrays_of, declared
from medleak.custom.record import (
    InputSpec,
    LeftOut,
    Manifest,
    ModelSpec,
    RecordError,
    TaskSpec,
    begun_now,
)
from medleak.custom.record.declared import declared_info, hides_schedule
from medleak.custom.record.sent_models import SentModels
from medleak.custom.record.tensors import as_arrays, check_update, difference
from medleak.custom.record.texts import input_of, model_of, task_of
from medleak.filters.update import DECLARED

_LEDGER = "medleak_ledger"
_PACKAGES = ("medleak", "flwr", "torch", "numpy", "safetensors")

_log = logging.getLogger(__name__)


def record_updates(
    strategy: Strategy,
    root: Path | str,
    *,
    job: str = "flower",
    network: ModelSpec | str | None = None,
    task: TaskSpec | str | None = None,
    input: InputSpec | str | None = None,
    names: Sequence[str] | None = None,
) -> Strategy:
    """A copy of ``strategy`` that records every model sent and every update received.

    It aggregates as before. What cannot be recorded stops the run: an audit of a record with silent
    gaps would call sites safe that nobody looked at. Sites are called ``node-`` and their id.

    Args:
        strategy: Of Flower's message API (``flwr.serverapp.strategy``); not changed.
        root: The record's directory, which must hold no record yet.
        job: A name.
        network: The network's factory, as a text ``torchvision.models.resnet18:num_classes=2``.
        task: Its loss and outputs, as a text ``bce:14``.
        input: An image, as a text ``224x224x3``.
        names: Of the network's ``state_dict()``, where arrays are numbered.

    Raises:
        TypeError: It is no such strategy.
        RecordError: ``root`` holds a record already.
        ValueError: One of the texts is none.
    """
    if not isinstance(strategy, Strategy):
        raise TypeError(
            f"{type(strategy).__module__}.{type(strategy).__name__} is no strategy of "
            "flwr.serverapp.strategy, so nothing of it could be recorded. Use one of those, or "
            "write the record yourself with medleak.custom.record.write_record."
        )
    manifest = Manifest(
        job=job,
        created=begun_now(),
        model=model_of(network) if isinstance(network, str) else network,
        task=task_of(task) if isinstance(task, str) else task,
        input=input_of(input) if isinstance(input, str) else input,
        versions={p: version(p) for p in _PACKAGES} | {"python": platform.python_version()},
    )
    if (Path(root) / "manifest.json").exists():
        raise RecordError(
            f"{root} holds a record already: record runs in directories of their own."
        )
    recording = _Recording(Path(root), manifest, names, getattr(strategy, "weighted_by_key", ""))
    recorded: Any = copy.copy(strategy)
    recorded.configure_train = recording.sent(_method(strategy, recorded, "configure_train"))
    recorded.aggregate_train = recording.received(_method(strategy, recorded, "aggregate_train"))
    recorded.start = recording.run(_method(strategy, recorded, "start"))
    return recorded


def _method(strategy: Strategy, copied: Strategy, name: str) -> Any:
    """The method of ``strategy``, at work on its copy: both halves of a round share a state."""
    found = getattr(strategy, name)
    own = getattr(found, "__self__", None) is strategy
    return types.MethodType(found.__func__, copied) if own else found


class _Recording:
    """One run's record."""

    def __init__(
        self, root: Path, manifest: Manifest, names: Sequence[str] | None, weight: str
    ) -> None:
        self._root, self._manifest, self._names, self._weight = root, manifest, names, weight
        self._models = SentModels()
        self._errors: Counter[str] = Counter()
        self._arrived = 0

    def run(self, start: Any) -> Any:
        """``Strategy.start`` with a record that is begun before, and ended after, the run."""

        @functools.wraps(Strategy.start)
        def started(*args: Any, **kwargs: Any) -> Result:
            record.write_manifest(self._root, self._manifest)
            try:
                return start(*args, **kwargs)
            finally:
                self._close()

        return started

    def sent(self, configure: Any) -> Any:
        """``configure_train`` whose messages are noted."""

        @functools.wraps(configure)
        def configured(
            server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
        ) -> Iterable[Message]:
            messages = list(configure(server_round, arrays, config, grid))
            for message in messages:
                content = message.content
                model = arrays_of(content.array_records[arrays_key(content)], self._names)
                where = f"The model of round {server_round}"
                site = _site(message.metadata.dst_node_id)
                self._models.note(site, server_round, as_arrays(where, model))
            return messages

        return configured

    def received(self, aggregate: Any) -> Any:
        """``aggregate_train`` whose replies are recorded."""

        @functools.wraps(aggregate)
        def aggregated(
            server_round: int, replies: Iterable[Message]
        ) -> tuple[ArrayRecord | None, MetricRecord | None]:
            messages = list(replies)
            for message in messages:
                if message.has_error():
                    self._errors[str(message.error.code)] += 1
                else:
                    self._record(server_round, message)
            return aggregate(server_round, messages)

        return aggregated

    def _record(self, round: int, message: Message) -> None:
        site = _site(message.metadata.src_node_id)
        where, content = f"Round {round}, site {site}", message.content
        self._arrived += 1
        sent = self._models.answered(site, round)
        said, withheld = declared(content)
        schedule = said.get(SCHEDULE)
        if reason := hides_schedule(said.get(DECLARED), schedule):
            self._leave_out(LeftOut(round=round, site=site, reason=reason))
            return
        local = as_arrays(where, arrays_of(content.array_records[arrays_key(content)], self._names))
        update = difference(where, local, sent.arrays)
        for name in withheld:  # a client's word counts where it is true
            if name in update and not update[name].any():
                del update[name]
        check_update(where, sent.arrays, update)
        if sent.digest is None:
            sent.digest = record.write_global(self._root, round, sent.arrays, several=True)
        info, unusable = declared_info(
            round,
            site,
            self._images(message) | (schedule if isinstance(schedule, dict) else {}),
            defences=said.get(DECLARED),
            ledger=said.get(_LEDGER),
        )
        if unusable:
            _log.warning("%s: recorded as unknown: %s", where, "; ".join(unusable))
        record.write_update(self._root, info, sent.digest, update)

    def _images(self, message: Message) -> dict[str, Any]:
        """The weight of an update in the average, which is its site's number of images."""
        for metrics in message.content.metric_records.values():
            if isinstance(n := metrics.get(self._weight), int) and n >= 1:
                return {"n_images": n}
        return {}

    def _leave_out(self, left_out: LeftOut) -> None:
        everything = (*self._manifest.left_out, left_out)
        self._manifest = self._manifest.model_copy(update={"left_out": everything})
        record.write_manifest(self._root, self._manifest)

    def _close(self) -> None:
        if self._arrived:
            return
        codes = ", ".join(f"{n} with code {code}" for code, n in sorted(self._errors.items()))
        why = "no update came in the whole run" + (f"; clients failed ({codes})" if codes else "")
        self._manifest = self._manifest.model_copy(update={"silence": why})
        record.write_manifest(self._root, self._manifest)
        _log.error("Nothing was recorded in %s: %s", self._root, why)


def _site(node_id: int) -> str:
    return f"node-{node_id}"
