"""What a site declares beside its update, in whatever its framework sends: checked, as an info."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from medleak.custom.record.files import RecordError
from medleak.custom.record.schema import SCHEDULE, UpdateInfo, utc_now
from medleak.custom.record.texts import first_error

_GUARANTEED = ("clipped_gaussian", "clipped_laplace", "dp_sgd")  # may hide the schedule


def declared_info(
    round: int, site: str, schedule: object, *, defences: object = (), ledger: object = None
) -> tuple[UpdateInfo, list[str]]:
    """An update's info as its site declares it, and what of the schedule is unusable.

    Args:
        round, site: Of the update, as the server knows them.
        schedule: A mapping with fields of `SCHEDULE`; anything else declares nothing.
        defences: What the site's filters say that they did.
        ledger: Its ``entries`` and ``head`` are kept.

    Raises:
        RecordError: Defences, ledger or the mark of canaries are unusable: what is not marked
            would be taken for an update of patients alone.
    """
    ours = {"round": round, "site": site, "time": utc_now()}
    said = schedule if isinstance(schedule, Mapping) else {}
    known, unusable = {}, []
    for field in SCHEDULE:
        if (value := _plain(said.get(field))) is None:
            continue
        try:
            UpdateInfo.model_validate({**ours, field: value})
        except ValidationError as error:
            unusable.append(f"{first_error(error)}, got {str(value)[:40]}")
        else:
            known[field] = value
    head = {k: ledger.get(k) for k in ("entries", "head")} if isinstance(ledger, Mapping) else None
    words = {"defences": defences or (), "ledger": head, "canaries": said.get("canaries")}
    try:
        return UpdateInfo.model_validate({**ours, **known, **words}), unusable
    except ValidationError as error:
        raise RecordError(
            f"{site} declared an unusable defence or ledger, or canaries: {first_error(error)}. "
            "Correct its filters, or the script that plants canaries."
        ) from None


def hides_schedule(defences: object, schedule: object) -> str:
    """Why an update without a schedule is not recorded; empty if it has one, or has no right to.

    Args:
        defences: What the site's filters say that they did.
        schedule: None: the site says nothing of it.
    """
    said = defences if isinstance(defences, Sequence) else ()
    named = {d.get("name") for d in said if isinstance(d, Mapping)}
    if schedule is not None or not named & set(_GUARANTEED):
        return ""
    return (
        "its guarantee hides the training schedule, without which no attack can be judged; to "
        'audit it, the site\'s mechanism must disclose=["schedule"]'
    )


def _plain(value: Any) -> Any:
    """A number of numpy or torch as Python's; all else as it is."""
    return value.item() if callable(getattr(value, "item", None)) else value
