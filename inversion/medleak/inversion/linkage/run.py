"""What the updates of a run tell of its sites: from records and lists to findings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medleak.custom.record import chosen_updates, read_record
from medleak.inversion.images.truth import find_truth, training_items
from medleak.inversion.linkage.findings import (
    WHOSE,
    Floats,
    Told,
    attribute,
    shares_of,
    whose,
)
from medleak.inversion.linkage.sketch import features, sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTested:
    """One thing that was not asked; ``what`` as in `Told`, ``why`` a sentence."""

    what: str
    why: str

    def __str__(self) -> str:
        """The sentence."""
        return self.why


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was told, and what was not tested and why."""

    told: list[Told] = field(default_factory=list)
    not_tested: list[NotTested] = field(default_factory=list)

    def leave(self, what: str, why: object) -> None:
        """Note that ``what`` was not tested."""
        self.not_tested.append(NotTested(what=what, why=str(why)))


def ask(
    records: Path,
    *,
    rounds: Sequence[int] | None = None,
    sites: Sequence[str] | None = None,
    truth: Path | None = None,
    shares: Mapping[str, Mapping[str, float]] | None = None,
    k: int = 1,
) -> Answers:
    """Whose an update is; and of each site its classes, and other attributes.

    Args:
        records: Directory.
        rounds: None: all; ``sites`` likewise.
        truth: See `medleak.inversion.images.truth.find_truth`: what classes each site has.
        shares: By attribute, each site's share of patients that have it.
        k: Neighbours that say whose an update is.

    Raises:
        ValueError: No such update, a damaged one, or shares that name a site that sent none.
    """
    chosen = chosen_updates(records, rounds, sites)
    names = list(dict.fromkeys(site for _, site in chosen))
    by_round: dict[int, list[str]] = {}
    for round, site in chosen:
        by_round.setdefault(round, []).append(site)
    seen: list[tuple[Floats, list[int]]] = []
    for round, sent in by_round.items():
        if len(sent) > 1:  # of a single one nothing is left when the common part is taken away
            found = features([sketch(read_record(records, round, site).update) for site in sent])
            seen.append((found, [names.index(site) for site in sent]))
    answers = Answers()
    try:
        answers.told.append(whose(seen, len(names), k=k))
    except ValueError as error:
        answers.leave(WHOSE, error)
    points = _by_site(seen)
    for name, of in _attributes(records, truth, names, shares or {}, answers).items():
        known = [n for n in points if names[n] in of]
        try:
            answers.told.append(
                attribute(
                    name,
                    np.stack([points[n] for n in known]) if known else np.zeros((0, 1)),
                    np.stack([of[names[n]] for n in known]) if known else np.zeros((0, 1)),
                )
            )
        except ValueError as error:
            answers.leave(f"{name} of a site", error)
            continue
        if others := [site for n, site in enumerate(names) if n not in known]:
            why = f"{name} of {_few(others)}: not given, or no update to compare with."
            answers.leave(f"{name} of a site", f"{why[0].upper()}{why[1:]}")
    return answers


def _few(sites: Sequence[str]) -> str:
    return ", ".join(sites[:6]) + (f" and {len(sites) - 6} more sites" if len(sites) > 6 else "")


def _by_site(seen: Sequence[tuple[Floats, Sequence[int]]]) -> dict[int, Floats]:
    """Each site's mean over its rounds; rounds may have different entries, then the common part."""
    width = min((x.shape[1] for x, _ in seen), default=0)
    found: dict[int, list[Floats]] = {}
    for x, owners in seen:
        for row, owner in zip(x, owners, strict=True):
            found.setdefault(owner, []).append(row[:width])
    return {owner: np.mean(rows, axis=0) for owner, rows in sorted(found.items())}


def _attributes(
    records: Path,
    truth: Path | None,
    sites: Sequence[str],
    shares: Mapping[str, Mapping[str, float]],
    answers: Answers,
) -> dict[str, dict[str, Floats]]:
    found: dict[str, dict[str, Floats]] = {}
    counts = {}
    for site in sites:
        datalist = find_truth(truth, records, site)
        if datalist is not None:
            counts[site] = Counter(item.label for item in training_items(datalist, site))
    if counts:
        table = shares_of(counts, list(counts))
        found["class shares"] = dict(zip(counts, table, strict=True))
    else:
        why = "Class shares of a site: no site's list is known (--truth)."
        answers.leave("class shares of a site", why)
    for name, of in shares.items():
        if strangers := [site for site in of if site not in sites]:
            raise ValueError(
                f"The shares of {name!r} name {strangers[0]}, which sent no update that was "
                f"chosen. Sites are {', '.join(sites[:9])}."
            )
        found[name] = {site: np.array([share]) for site, share in of.items()}
    return found
