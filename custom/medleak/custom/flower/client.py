"""A Flower client's mod: nothing of an update leaves but through the filters."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict  # pyright: ignore[reportMissingImports]

from medleak.custom.flare.outside import WEIGHT, Released, SiteChain, filters_of, steps_of
from medleak.custom.flower.messages import (
    BESIDE,
    SCHEDULE,
    arrays_key,
    arrays_of,
    as_record,
    declaration,
    kind_of,
    round_of,
)
from medleak.filters.adapters import PrivacyBudget, PrivacyLedger, RestoreWithheld
from medleak.filters.adapters.payload import check_meta
from medleak.filters.defences.withholding import Withhold
from medleak.filters.privacy.accounting import guarantee_of
from medleak.filters.update import UpdateError

_Next = Callable[[Message, Context], Message]

_FAILED = 6  # Flower's ErrorCode.MOD_FAILED_PRECONDITION

_log = logging.getLogger(__name__)


class Protect:
    """Let an update leave through medleak's filters or not at all. The first of a client's mods.

    What the training returns is replaced by the model that came plus the protected difference.
    Metrics and configurations beside it leave as they are under a heuristic, if they are small and
    plain; under a mechanism with an ε only what ``disclose`` names, and a constant weight. Messages
    that ask for something else than training or evaluation are refused. The server is told that
    something was withheld, and never why: the reason is in the site's log.

    Args:
        defence: As ``medleak audit --defence`` takes it, such as ``percentile_gaussian:sigma0=10``.
        root: The site's own folder, where ledger, state and stored releases are kept. Of simulated
            sites each needs its own: ``{partition}`` stands for the node's partition-id.
        target_delta: Keep a privacy ledger at this δ; needed for a mechanism with an ε.
        target_epsilon: Refuse a round, before it trains, that would exceed this ε.
        disclose: ``["schedule"]``: number of images and settings leave exactly under an ε.
        names: Of the network's ``state_dict()``, where arrays are numbered (Flower's NumPyClient).
        weighted_by: The metric by which the server's strategy weighs updates.
        result_filters: Further NVFlare filters, after those of ``defence``.

    Raises:
        ValueError: Something of it is unknown or malformed, or an ε without its ledger.
    """

    def __init__(
        self,
        defence: str,
        *,
        root: Path | str,
        target_delta: float | None = None,
        target_epsilon: float | None = None,
        disclose: Sequence[str] = (),
        names: Sequence[str] | None = None,
        weighted_by: str = "num-examples",
        result_filters: Sequence[Any] = (),
    ) -> None:
        """Build the filters once, so that what they refuse is said when the app starts."""
        if set(disclose) - {"schedule"}:
            raise ValueError(f"disclose may name 'schedule' alone, got {list(disclose)}.")
        self._defence, self._root = defence, str(root)
        self._target_delta, self._target_epsilon = target_delta, target_epsilon
        self._disclose, self._more = list(disclose), list(result_filters)
        self._weight = weighted_by
        self._names = None if names is None else list(names)
        self._guaranteed = any(guarantee_of(step) is not None for step in steps_of(defence))
        if self._guaranteed and target_delta is None:
            raise ValueError(
                f"{defence!r} has an ε, which is spent round by round: give target_delta, at which "
                "the site's ledger counts it."
            )
        if target_epsilon is not None and target_delta is None:
            raise ValueError("target_epsilon is a limit at some δ: give target_delta.")
        self._result_filters()
        self._data_filters()

    def __call__(self, message: Message, context: Context, call_next: _Next) -> Message:
        """Train or evaluate, and send what may leave; an error without content otherwise."""
        try:
            kind = kind_of(message)
            if kind == "train":
                return self._train(message, context, call_next)
            if kind == "evaluate":
                return self._evaluate(message, context, call_next)
            raise UpdateError(
                f"A message of type {message.metadata.message_type!r:.80} asks for something that "
                "no filter protects."
            )
        except Exception as error:
            _log.error("nothing leaves this site: %s", " ".join(str(error).split()))
            reason = "medleak withheld it; the reason is in the site's own log"
            return Message(Error(_FAILED, reason), reply_to=message)

    def _train(self, message: Message, context: Context, call_next: _Next) -> Message:
        key = arrays_key(message.content)
        sent = message.content.array_records[key]
        state = arrays_of(sent, self._names)
        received = self._chain(context).receive(state, round_of(message), uuid4().hex)
        if not all(np.array_equal(received.model[n], v) for n, v in state.items()):
            message.content[key] = as_record(received.model, sent)  # with what was withheld before
        content = _answered(call_next(message, context))
        back = arrays_key(content)
        local = arrays_of(content.array_records[back], self._names)
        released = received.release(local, self._meta(content))
        if released.guaranteed:  # names are the script's own, and would carry bits past the noise
            made = self._constant(released, older=key.startswith("fitins."))
            back = key.replace("fitins.", "fitres.")
        else:
            made = _plain(content)
        made[back] = as_record(_protected(state, released), sent)
        withheld = [name for name in state if name not in released.update]
        made[BESIDE] = declaration(released.meta, withheld)
        return Message(made, reply_to=message)

    def _meta(self, content: RecordDict) -> dict[str, Any]:
        """What a client says of its training, as filters read it."""
        meta: dict[str, Any] = {}
        if (schedule := content.config_records.get(SCHEDULE)) is not None:
            meta[SCHEDULE] = dict(schedule)
        weight = next(
            (m[self._weight] for m in content.metric_records.values() if self._weight in m), None
        )
        if weight is not None:
            meta[WEIGHT] = weight
        return meta

    def _constant(self, released: Released, *, older: bool) -> RecordDict:
        """What strategies ask for beside an update, with nothing of this site in it."""
        weight = released.meta.get(WEIGHT, 1)
        if not older:
            return RecordDict({"metrics": MetricRecord({self._weight: weight})})
        return RecordDict(
            {
                "fitres.num_examples": MetricRecord({"num_examples": weight}),
                "fitres.metrics": ConfigRecord(),
                "fitres.status": ConfigRecord({"code": 0, "message": ""}),
            }
        )

    def _evaluate(self, message: Message, context: Context, call_next: _Next) -> Message:
        if self._guaranteed:
            raise UpdateError(
                "Scores on this site's images have no noise, and ε does not cover them: under a "
                "mechanism with an ε nothing is evaluated. Set fraction_evaluate to 0."
            )
        content = _answered(call_next(message, context))
        if content.array_records:
            raise UpdateError("The reply to an evaluation holds arrays, which no filter protects.")
        return Message(_plain(content), reply_to=message)

    def _chain(self, context: Context) -> SiteChain:
        partition = str(context.node_config.get("partition-id", context.node_id))
        if not partition.isalnum():
            raise UpdateError(f"The node's partition-id {partition!r:.80} can be no folder's name.")
        return SiteChain(
            data_filters=self._data_filters(),
            result_filters=self._result_filters(),
            root=Path(self._root.replace("{partition}", partition)),
            site=f"node-{context.node_id}",
            # A round is a site's own: two that share a folder must not send each other's release.
            job=f"{context.run_id}-{context.node_id}",
        )

    def _result_filters(self) -> list[Any]:
        made = [*filters_of(self._defence, disclose=self._disclose), *self._more]
        if self._target_delta is not None:
            made.append(PrivacyLedger(self._target_delta, self._target_epsilon))
        return made

    def _data_filters(self) -> list[Any]:
        made: list[Any] = []
        if self._target_epsilon is not None and self._target_delta is not None:
            made.append(PrivacyBudget(self._defence, self._target_epsilon, self._target_delta))
        if any(isinstance(step, Withhold) for step in steps_of(self._defence)):
            made.append(RestoreWithheld())
        return made


def _answered(reply: Message) -> RecordDict:
    if reply.has_error():
        raise UpdateError(f"The client failed: {reply.error.reason}")
    return reply.content


def _plain(content: RecordDict) -> RecordDict:
    """All but the arrays of a reply, if it is small and plain.

    Raises:
        UpdateError: It is not, so that it could hold an update.
    """
    records = {**content.metric_records, **content.config_records}
    records.pop(BESIDE, None)  # only our own word is sent under our name
    check_meta({name: dict(record) for name, record in records.items()})
    return RecordDict(records)


def _protected(state: Mapping[str, np.ndarray], released: Released) -> dict[str, np.ndarray]:
    """Weights as Flower's strategies average them: the model that came plus what may leave."""
    made = {}
    for name, value in state.items():
        update = released.update.get(name)
        made[name] = value if update is None else (value + update).astype(value.dtype)
    return made
