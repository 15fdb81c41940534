"""The updates that somebody asked about: all that were recorded, or those of some rounds, sites."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from medleak.custom.record.reading import list_updates, read_manifest
from medleak.custom.record.strays import EmptyRecord, why_empty


def chosen_updates(
    records: Path, rounds: Sequence[int] | None = None, sites: Sequence[str] | None = None
) -> list[tuple[int, str]]:
    """(round, site) of the recorded updates of ``rounds`` and ``sites`` (None: all), in order.

    Raises:
        EmptyRecord: There is no update.
        ValueError: A round or site is not recorded, so that it could not be examined; or no update
            is of both.
    """
    recorded = list_updates(records)
    if not recorded:
        raise EmptyRecord(
            f"{records} holds a manifest and no update: nothing was examined. "
            f"{why_empty(read_manifest(records))}"
        )
    _check("round", rounds, [round for round, _ in recorded], records)
    _check("site", sites, [site for _, site in recorded], records)
    chosen = [
        (round, site)
        for round, site in recorded
        if (rounds is None or round in rounds) and (sites is None or site in sites)
    ]
    if not chosen:
        raise ValueError(
            f"No update of {records} is of the rounds and of the sites asked for: rounds "
            f"{_listed(rounds)}, sites {_listed(sites)}. `medleak records ls` shows which site "
            "sent in which round."
        )
    return chosen


def _check(
    what: str, asked: Sequence[object] | None, known: Sequence[object], records: Path
) -> None:
    if unknown := [a for a in asked or () if a not in known]:
        raise ValueError(
            f"{what.capitalize()} {unknown[0]} is not in {records}: recorded are {what}s "
            f"{_listed(dict.fromkeys(known))}. Choose among them; `medleak records ls` shows what "
            "there is."
        )


def _listed(values: Iterable[object] | None) -> str:
    """All of a few values, else the first and the last: error messages stay one line."""
    texts = [str(v) for v in values or ()]
    if not texts:
        return "any"
    return ", ".join(texts if len(texts) <= 12 else [*texts[:6], "…", *texts[-3:]])
