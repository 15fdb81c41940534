"""What an audit says of a group: a record, its sentence, and its way into summary.json and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from medleak.custom.intervals import FEW_CLUSTERS

Kind = Literal["leaks", "found_not_identified", "inconclusive", "not_measured", "no_leak_found"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Worst first."""

FOUND = "found, not identified"
"""How `Verdict` begins where something was found that no list has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much stands behind a verdict.

    Attributes:
        images: Different ones that were attacked; ``patients``: whose.
        runs: Cases (round, site, seed) of the attack; ``seeds``: different ones.
        over: What the intervals are over: ``patients``, ``runs`` of one patient's images, or None.
    """

    images: int
    patients: int
    runs: int
    seeds: int
    over: str | None = None

    def __str__(self) -> str:
        """For a sentence.

        Examples:
            >>> str(Extent(images=3, patients=1, runs=5, seeds=5, over="runs"))
            '3 images, 1 patient, 5 runs, 5 seeds; the interval covers runs, not other images'
        """
        counts = {"images": self.images, "patients": self.patients}
        counts |= {"runs": self.runs, "seeds": self.seeds}
        text = ", ".join(f"{n} {what if n != 1 else what[:-1]}" for what, n in counts.items())
        if self.over == "runs":
            return f"{text}; the interval covers runs, not other images"
        if self.over == "patients" and self.patients < FEW_CLUSTERS:
            return f"{text}; few patients: the interval is rough"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the figures of a group mean, by `medleak.inversion.results.rule.RULE`; never "safe".

    Attributes:
        kind: ``no_leak_found`` needs every check to have passed. What was not examined
            (``not_measured``) and what is not known (``inconclusive``) are kinds of their own.
            ``found_not_identified``: by its own losses the attack found something, and it is on no
            list: the truth list is not what the network saw, or is not this site's.
        reasons: Clauses: what came back, what is doubtful, or by what nothing was found.
        attack: Against which it holds; ``knowledge``: of the attacker.
        extent: None: not said, as in the sentence of an older summary.
    """

    kind: Kind
    reasons: tuple[str, ...]
    attack: str
    knowledge: str
    extent: Extent | None = None

    @property
    def answers(self) -> bool:
        """Whether a leak is shown, or was looked for in earnest and not found."""
        return self.kind in ("leaks", "no_leak_found")

    def __str__(self) -> str:
        """The sentence.

        Examples:
            >>> extent = Extent(images=1, patients=1, runs=1, seeds=1)
            >>> found = Verdict(kind="leaks", reasons=("best SSIM 0.95",), attack="dlg",
            ...                 knowledge="all", extent=extent)
            >>> str(found)
            'leaks: best SSIM 0.95 (by dlg knowing all; 1 image, 1 patient, 1 run, 1 seed)'
        """
        by, why = f"by {self.attack} knowing {self.knowledge}", "; ".join(self.reasons)
        extent = "" if self.extent is None else f"; {self.extent}"
        if self.kind == "no_leak_found":
            return f"no leak found {by} ({why}{extent})"
        if self.kind == "found_not_identified":
            return f"{FOUND}: {why} ({by}{extent})"
        if self.kind == "not_measured":  # no interval: how many there are says nothing
            return f"not measured: {why} ({by})"
        return f"{self.kind}: {why} ({by}{extent})"


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The fields of summary.json's group that hold ``verdict``.

    ``verdict`` is the sentence, for eyes; `read` takes ``verdict_kind`` and ``verdict_reasons``.
    Attack, knowledge and extent stand in the group already.
    """
    return {
        "verdict": str(verdict),
        "verdict_kind": verdict.kind,
        "verdict_reasons": list(verdict.reasons),
    }


def read(group: Mapping[str, Any]) -> Verdict | None:
    """The verdict of a group of summary.json, whoever wrote it; None: it has none that is known.

    Summaries of before the record have the sentence alone, and here is the only place that takes
    one apart. Where record and sentence are at odds, or the record is damaged, the worse one
    counts, and neither is an all-clear.

    Examples:
        >>> read({"verdict": "no leak found by dlg (RDLV -0.25)"}).kind
        'no_leak_found'
        >>> read({"verdict": "certified safe"}) is None
        True
        >>> odd = {"verdict": "leaks: IIP 1.00 (by dlg)", "verdict_kind": "no_leak_found"}
        >>> read(odd).kind
        'leaks'
    """
    sentence = _of_sentence(group)
    if "verdict_kind" not in group:
        return sentence
    record = _of_record(group)
    if record is not None and sentence is not None and record.kind == sentence.kind:
        return record
    doubtful = [v for v in (record, sentence) if v is not None and v.kind != "no_leak_found"]
    return min(doubtful, key=lambda v: KINDS.index(v.kind), default=None)


def _of_record(group: Mapping[str, Any]) -> Verdict | None:
    kind: Kind | None = next((k for k in KINDS if group.get("verdict_kind") == k), None)
    reasons = group.get("verdict_reasons")
    if kind is None or not isinstance(reasons, list):
        return None
    if not all(isinstance(reason, str) for reason in reasons):
        return None
    return _verdict(group, kind, tuple(reasons))


def _of_sentence(group: Mapping[str, Any]) -> Verdict | None:
    text = group.get("verdict")
    if not isinstance(text, str):
        return None
    if text.startswith("no leak found"):
        return _verdict(group, "no_leak_found", ())
    word, _, rest = text.partition(":")
    kind: Kind | None = next((k for k in KINDS if word == k.replace("_", " ")), None)
    if word == FOUND:
        kind = "found_not_identified"
    # Behind the last bracket stand attack and extent.
    why = rest.rpartition(" (")[0].strip() or rest.strip()
    return None if kind is None else _verdict(group, kind, (why,))


def _verdict(group: Mapping[str, Any], kind: Kind, reasons: tuple[str, ...]) -> Verdict:
    return Verdict(
        kind=kind,
        reasons=reasons,
        attack=str(group.get("attack", "")),
        knowledge=str(group.get("knowledge", "")),
        extent=extent_of(group),
    )


def extent_of(group: Mapping[str, Any]) -> Extent | None:
    """The extent that stands in a group of figures; None where a number of it is missing."""
    images, patients, runs, seeds = (
        n if isinstance(n, int) and not isinstance(n, bool) else None
        for n in (group.get(name) for name in ("images", "patients", "runs", "seeds"))
    )
    if images is None or patients is None or runs is None or seeds is None:
        return None
    over = group.get("over")
    return Extent(
        images=images,
        patients=patients,
        runs=runs,
        seeds=seeds,
        over=over if isinstance(over, str) else None,
    )
