"""Canaries that a site planted: from its list and the record of a run to a bound beside its ε."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medleak.custom.record import Record, UpdateInfo, list_updates, read_info, read_record
from medleak.custom.sites import canaries
from medleak.custom.sites.canaries import CanaryList
from medleak.filters.privacy import ledger
from medleak.inversion.dp_audit.claims import Claim, claim_of
from medleak.inversion.dp_audit.counts import Guessed, Kind
from medleak.inversion.dp_audit.curve import least_refuting, with_scaled_noise
from medleak.inversion.dp_audit.estimates import (
    gaussian,
    one_run,
    one_run_gaussian,
    threshold_of,
)
from medleak.inversion.dp_audit.gradients import inner_products
from medleak.inversion.dp_audit.guesses import best_guesses, sampled
from medleak.inversion.dp_audit.site_list import beside, list_of
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.observation import observe

Floats = NDArray[np.float64]
_RIDGE = 0.1  # of a gradient's square; .01 to 1 told canaries about as well, with noise or without


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedRun:
    """What the canaries of one site say; which of them went in, it does not.

    Attributes:
        site: Whose updates they went into.
        canaries: Their kind.
        rounds: That were looked at.
        guessed: Counts, bound and claim.
        by: Whose word the claim is.
        needed: Right guesses that contradict the whole trade-off that is claimed; None: not even
            all would, or nothing is claimed.
        scaled: Lower bound of ε if the mechanism is what it claims but for its noise, which may be
            any; None: nothing is claimed, or it shows nothing.
        apart: Lower bound of ε if every canary were a run of its own, and the mechanism Gaussian:
            sharper, and void where canaries influence each other.
    """

    site: str
    canaries: str
    rounds: tuple[int, ...]
    guessed: Guessed
    by: str
    needed: int | None
    scaled: float | None
    apart: float

    @property
    def kind(self) -> Kind:
        """As `Guessed.kind`, by the whole trade-off beside the one ε."""
        if self.guessed.claimed is None:
            return "no claim"
        if self.needed is None:
            return self.guessed.kind
        refuted = self.guessed.right >= self.needed or self.guessed.kind == "refuted"
        return "refuted" if refuted else "not refuted"

    def __str__(self) -> str:
        """In words."""
        found, settings = self.guessed, f"δ = {self.guessed.delta:g}"
        one = len(self.rounds) == 1
        where = f"round {self.rounds[0]}" if one else f"{len(self.rounds)} rounds"
        head = f"{self.site}, {where}, {found.planted} canaries ({self.canaries})"
        seen = (
            f"of {found.guessed} guesses {found.right} were right, so that ε is at least "
            f"{found.bound:.3g} at {settings} ({found.confidence:.0%} confidence, whatever the "
            f"mechanism{self._of_its_kind}); if canaries leave each other alone, {self.apart:.3g}"
        )
        claim = f"{self.by} claims ε = {found.claimed or 0:.3g}"
        if self.kind == "no claim":
            return f"{head}: no ε is claimed; {seen}"
        if self.kind == "out of reach":
            return (
                f"{head}: not known: {claim}, and so few canaries could not contradict it, were "
                f"all guesses right. Plant more; {seen}"
            )
        needed = f"; {self.needed} right ones contradict it" if self.needed is not None else ""
        word = "REFUTED" if self.kind == "refuted" else "not refuted"
        return f"{head}: {word}: {claim}{needed}; {seen}"

    @property
    def _of_its_kind(self) -> str:
        if self.scaled is None:
            return ""
        return f"; at least {self.scaled:.3g} if it is as claimed but for its noise"

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        head = {"site": self.site, "canaries": self.canaries, "rounds": list(self.rounds)}
        more = {
            "claimed_by": self.by,
            "needed": self.needed,
            "scaled": self.scaled,
            "apart": self.apart,
        }
        own = {"verdict": str(self), "kind": self.kind}
        return head | self.guessed.as_json() | more | own


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """How a run is looked at.

    Attributes:
        delta: δ at which ε is compared.
        confidence: Of the bound.
        guesses: How many canaries are guessed; None: `best_guesses`.
        listed: The site's list; None: look where a simulated site left it.
        book: The site's ledger; None: likewise, else what the record says.
        allowed_prefixes: Origins of model factories that are trusted beside the usual.
    """

    delta: float = 1e-5
    confidence: float = 0.95
    guesses: int | None = None
    listed: Path | None = None
    book: Path | None = None
    allowed_prefixes: Sequence[str] = ()


def planting_sites(records: Path) -> dict[str, list[UpdateInfo]]:
    """The marked updates of each site that says that it planted canaries."""
    found: dict[str, list[UpdateInfo]] = {}
    for round, site in list_updates(records):
        info = read_info(records, round, site)
        if info.canaries is not None:
            found.setdefault(site, []).append(info)
    return found


def examine(records: Path, site: str, infos: Sequence[UpdateInfo], how: Examiner) -> PlantedRun:
    """The bound of ``site``.

    Args:
        records: Directory.
        site: Of `planting_sites`; ``infos`` likewise.
        how: Settings.

    Raises:
        ValueError: Its list is missing, or of another plan than the record's marks; a record is
            damaged; or the number of guesses is impossible.
    """
    listed = list_of(records, site, infos, how.listed)
    book = how.book or beside(records, site, ledger.FILE_NAME)
    claim = claim_of(infos, how.delta, book=book)
    scores = np.zeros(len(listed.canaries))
    for info in infos:
        scores += _scores(read_record(records, info.round, site), listed, how.allowed_prefixes)
    found = guessed(scores, listed.planted, claim, how)
    needed = scaled = None
    if claim.events:
        each = _each(how.confidence)
        counts = found.planted, found.guessed
        needed = least_refuting(claim.events, *counts, each)
        scaled = with_scaled_noise(claim.events, *counts, found.right, each, how.delta)
    return PlantedRun(
        site=site,
        canaries=listed.plan.kind,
        rounds=tuple(info.round for info in infos),
        guessed=found,
        by=claim.by,
        needed=needed,
        scaled=scaled,
        apart=_apart(scores, listed.planted, how),
    )


def guessed(scores: Floats, planted: NDArray[np.bool_], claim: Claim, how: Examiner) -> Guessed:
    """Guess *in* of the highest ``scores`` [N], *out* of the lowest, and count.

    As many of both; of a claim that rests on sampling *in* alone, as a canary that went in and was
    never drawn looks like one that did not.

    Raises:
        ValueError: There are more guesses than canaries, or a score is no number.
    """
    settings = {"delta": how.delta, "confidence": how.confidence}
    each = settings | {"confidence": _each(how.confidence)}
    n, number = len(scores), how.guesses
    if number is None:
        number = best_guesses(n, claim, **each)
    if not 1 <= number <= n:
        raise ValueError(f"--guesses is {number}: of {n} canaries 1 to {n} can be guessed.")
    if not np.isfinite(scores).all():
        raise ValueError("The score of a canary is NaN or infinite: nothing can be said.")
    order = np.argsort(scores, kind="stable")
    out = 0 if sampled(claim) else number // 2
    right = int((~planted[order[:out]]).sum() + planted[order[n - (number - out) :]].sum())
    return Guessed(
        planted=n,
        guessed=number,
        right=right,
        claimed=claim.epsilon,
        bound=one_run(n, number, right, **each),
        gaussian=one_run_gaussian(n, number, right, **each),
        most=one_run(n, number, number, **each),
        **settings,
    )


def _each(confidence: float) -> float:
    """Of each of two bounds, that both hold with ``confidence``."""
    return 1 - (1 - confidence) / 2


def _apart(scores: Floats, planted: NDArray[np.bool_], how: Examiner) -> float:
    """As if each canary were a run (Andrew et al. 2023, arXiv:2302.03098v5, trust it no more)."""
    inside, outside = scores[planted], scores[~planted]
    if min(len(inside), len(outside)) < 8:
        return 0.0
    half = min(len(inside), len(outside)) // 2
    cut = threshold_of(inside[:half], outside[:half])
    settings = {"delta": how.delta, "confidence": how.confidence}
    return gaussian(inside[half:], outside[half:], cut, **settings)


def _scores(record: Record, listed: CanaryList, allowed: Sequence[str]) -> Floats:
    """[N] larger for canaries that went in, about 1 a time that one did."""
    if listed.plan.kind == "images":
        return _of_images(record, listed, allowed)
    rate = record.info.lr or 1.0
    found = []
    for canary in listed.canaries:
        tensor = record.update.get(canary.tensor)
        if tensor is None or canary.index >= tensor.size:
            raise ValueError(
                f"The update of round {record.info.round} has no place {canary.index} in "
                f"{canary.tensor!r}, where a canary is: list and record are of two networks, or "
                "the site withholds the tensor."
            )
        found.append(-float(tensor.ravel()[canary.index]) / rate)
    return np.array(found)


def _of_images(record: Record, listed: CanaryList, allowed: Sequence[str]) -> Floats:
    """The coins' linear estimate from the update along all canaries' unit gradients.

    With G the gradients' inner products, update along them = G coins + noise of covariance
    s^2 G, and coins of variance 1/4: (G + 4 s^2)^-1 (update along them) is best. The claimed noise
    is not believed: a small ridge sees more where there is less.
    """
    observed = observe(record, Knowledge(), allowed_prefixes=allowed)
    size, channels = record.manifest.known_input().picture()
    images = torch.stack(
        [torch.from_numpy(canaries.picture(c.seed, channels, size)) for c in listed.canaries]
    )
    labels = torch.tensor([c.label for c in listed.canaries])
    along, gram = inner_products(observed, images, labels)
    length = gram.diagonal().sqrt().clamp_min(1e-20)
    gram = gram / length / length[:, None]
    ridge = _RIDGE * torch.eye(len(gram), dtype=torch.float64)
    return -torch.linalg.solve(gram + ridge, along / length).numpy()
