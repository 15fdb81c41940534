"""What the figures of membership mean, by a stated rule; never "safe"."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from medleak.custom.intervals import FEW_CLUSTERS
from medleak.inversion.membership.easy import REACHED
from medleak.inversion.membership.roc import Figure, Separation
from medleak.inversion.results.verdict import Extent, Kind, Verdict

CLOSE = 0.6
"""AUC up to which members are hardly told from others: an attacker is right in 6 of 10 pairs."""

FALSE_RATE = 0.01
"""Share of wrong ones among patients called recognised."""

RULE = (
    "leaks: members score above other images of the list with an AUC above 0.5, and above that of "
    "every other client's update that had neither, by 95 % bounds over patients; or patients "
    "are recognised, at most 1 % of them wrongly (Benjamini and Hochberg on conformal p-values), "
    "and none of the list by the other clients' updates. no leak found: neither, AUC at most 0.6 "
    "and not below 0.5 by its 95 % bounds, every image has a score and not all the same, the other "
    "clients' at chance and not apart from it, no patient and no copy of an image in both groups, "
    "ten patients in each, "
    "the images entered training as they are, or mirrored, the update agrees with what was said of "
    "it, and the score knew eight images that were certainly in. not measured: nobody said which "
    "candidates were in, and none was recognised. inconclusive: all else."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was seen of one update.

    Attributes:
        separation: Of members and others; None: nobody said who was in, or all or none were.
        nulls: The same of other clients' updates that had neither group.
        recognised: Patients of the list, at `FALSE_RATE`.
        null_recognised: Most patients that another client's update "recognised"; None: no such.
        easy: AUC of the easy case; None: not tried.
        least_p: The smallest p-value that there are enough certain non-members for.
        views_known: Whether training showed the images as they were tried.
        contradicted: What in the update contradicts what was said of it; empty: nothing.
        members: How many of the candidates were in; None: nobody said.
        unscored: Images whose score is no number.
        constant: Whether all have the same score.
        copies: Images that were not in and are almost one that was, as saved anew.
    """

    separation: Separation | None
    nulls: Sequence[Separation]
    recognised: int
    null_recognised: int | None
    easy: float | None
    least_p: float
    views_known: bool
    contradicted: str = ""
    members: int | None = None
    unscored: int = 0
    constant: bool = False
    copies: int = 0

    @property
    def flaws(self) -> list[str]:
        """Why low figures would be no evidence, however low; empty: they would be."""
        flaws = []
        if self.unscored:
            flaws.append(f"the score of {self.unscored} images is no number")
        elif self.separation is not None and self.separation.auc.upper95 < 0.5:
            auc = self.separation.auc.value
            flaws.append(f"members score below others (AUC {auc:.2f}), which tells them as well")
        flaws += self._of_the_list
        if not self.nulls:
            flaws.append("no update of a client that had neither group to compare with")
        elif off := [n.auc for n in self.nulls if not n.auc.lower95 <= 0.5 <= n.auc.upper95]:
            flaws.append(f"a client that had neither group has AUC {off[0].value:.2f}, not chance")
        elif self._beside_nulls:
            flaws.append(self._beside_nulls)
        if not self.views_known:
            flaws.append(
                "how training changed the images (augmentation) is not known, or not tried"
            )
        if self.easy is None:
            flaws.append("the score was not tried on an easy case, so this is no evidence")
        elif self.easy < REACHED:
            flaws.append(f"the score did not know an easy case (AUC {self.easy:.2f})")
        if self.contradicted:
            flaws.append(f"the update contradicts what was said of it ({self.contradicted})")
        return flaws

    @property
    def _of_the_list(self) -> list[str]:
        """What of the candidates brings members and others together that need not be alike."""
        found = []
        if self.constant:
            found.append("the score is the same for all images, so that it examined nothing")
        if self.copies:
            found.append(
                f"{self.copies} images that were not in are almost one that was: leave copies out"
            )
        if (told := self.separation) is None:
            return found
        if told.in_both:
            found.append(
                f"{told.in_both} patients have images that were in and others that were not, and "
                "films of one person are alike"
            )
        if told.fewest < FEW_CLUSTERS:
            found.append(f"one of the groups is of {told.fewest} patients, too few to tell")
        return found

    @property
    def _beside_nulls(self) -> str:
        """Where the groups are of two kinds, which may hide members as well as feign them."""
        if (told := self.separation) is not None:
            for null in self.nulls:
                if _above(told.auc, null.auc) or _above(null.auc, told.auc):
                    return (
                        f"AUC {told.auc.value:.2f} is apart from the {null.auc.value:.2f} of a "
                        "client that had neither group: the groups differ by themselves"
                    )
        return ""


def judge(found: Findings, *, score: str, knowledge: str, images: int, patients: int) -> Verdict:
    """The verdict on one update, by `RULE`; ``images`` and ``patients`` of the candidates."""
    kind, reasons = _judged(found, patients)
    extent = Extent(images=images, patients=patients, runs=1, seeds=1, over="patients")
    return Verdict(
        kind=kind,
        reasons=tuple(reasons),
        attack=f"membership by {score}",
        knowledge=knowledge,
        extent=extent,
    )


def _judged(found: Findings, patients: int) -> tuple[Kind, list[str]]:
    leaks, doubts = _leaks(found, patients)
    if leaks:
        return "leaks", leaks
    if found.separation is None:
        if doubts:
            return "inconclusive", doubts
        unknown = "it is not known which candidates were in: give --truth"
        if found.members is not None:
            all_or_none = "none" if found.members == 0 else "all"
            unknown = f"{all_or_none} of the candidates were in, so there is nobody to tell apart"
        if found.least_p > FALSE_RATE:
            few = f"p is at least {found.least_p:.2g} with so few certain non-members, so that "
            return "not_measured", [few + "none could be recognised: give more of them", unknown]
        return "not_measured", ["none of the candidates was recognised", unknown]
    if found.separation.auc.upper95 > CLOSE:
        auc = found.separation.auc
        doubts.append(f"AUC {auc.value:.2f}, up to {auc.upper95:.2f}: too few to tell")
    doubts += found.flaws
    if doubts:
        return "inconclusive", doubts
    said = f"AUC {found.separation.auc.value:.2f}, upper 95 % {found.separation.auc.upper95:.2f}"
    return "no_leak_found", [said, f"score healthy: AUC {found.easy:.2f} on an easy case"]


def _leaks(found: Findings, patients: int) -> tuple[list[str], list[str]]:
    leaks, doubts = [], []
    if (told := found.separation) is not None and told.auc.lower95 > 0.5:
        figure = f"AUC {told.auc.value:.3f} ({told.auc.lower95:.3f} to {told.auc.upper95:.3f})"
        if not found.nulls:
            doubts.append(
                f"{figure}, but there is no update of a client that had neither group: they may "
                "differ by themselves"
            )
        elif all(_above(told.auc, null.auc) for null in found.nulls):
            tpr = told.tpr["tpr_1"].value
            leaks.append(f"members are told from others: {figure}, {tpr:.0%} of them at 1 % false")
        else:
            highest = max(null.auc.value for null in found.nulls)
            doubts.append(f"{figure}, but a client that had neither group has {highest:.3f}")
    if found.recognised:
        figure = f"{found.recognised} of {patients} patients are recognised"
        if found.null_recognised:
            doubts.append(
                f"{figure}, but {found.null_recognised} by a client that did not have them: the "
                "certain non-members are of another kind"
            )
        elif found.null_recognised is None and not leaks:
            # The p-values hold by themselves if the non-members are as the candidates: who gives
            # them says so.
            leaks.append(
                f"{figure} (at most {FALSE_RATE:.0%} wrongly, if the non-members given "
                "are like them)"
            )
        else:
            leaks.append(f"{figure} (at most {FALSE_RATE:.0%} wrongly)")
    return leaks, doubts


def _above(auc: Figure, null: Figure) -> bool:
    """Whether the difference is above 0 by its lower bound (Newcombe 1998, square-and-add)."""
    spread = hypot(auc.value - auc.lower95, null.upper95 - null.value)
    return auc.value - null.value > spread
