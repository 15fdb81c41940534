"""When a strength is enough: what a search asks of the cases that were tried at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from medleak.inversion.calibration.probe import (
    Found,
    TriedStrength,
    images_of,
    probe_of,
)

MARGIN = 0.05
"""Excess in RDLV that counts as none: a twentieth of what everybody's guess has in common with the
image already, a gain of 0.02 to 0.03 in SSIM."""


class Tried(Protocol):
    """What one strength lets through; a frozen dataclass, for calibration.json.

    ``fresh``: its seeds had no part in choosing the strength.
    """

    @property
    def strength(self) -> float:
        """Of the defence; `Mechanism.nothing` for none."""
        ...

    @property
    def seeds(self) -> tuple[int, ...]:
        """Whose noise and starts these were."""
        ...

    @property
    def fresh(self) -> bool:
        """See the class."""
        ...

    def columns(self) -> Mapping[str, str]:
        """The figures for a table."""
        ...

    def at_most(self) -> str:
        """What it may still let through, for a sentence."""
        ...


TriedT = TypeVar("TriedT", bound=Tried)


class Goal(Protocol[TriedT]):
    """What must not happen any more."""

    @property
    def needs_noise_alone(self) -> bool:
        """Whether it compares with attacks on noise alone."""
        ...

    def tried(
        self,
        strength: float,
        seeds: Sequence[int],
        found: Found,
        bare: Found | None,
        *,
        fresh: bool = False,
    ) -> TriedT:
        """Figures of one strength, by the attacker who gets most of it.

        Args:
            strength: Which one.
            seeds: Of the runs.
            found: What came of them.
            bare: What came of the undefended update; None: this is that.
            fresh: See `Tried`.

        Raises:
            NotMeasuredError: There is no figure.
        """
        ...

    def no_baseline(self, bare: TriedT, found: Found) -> str:
        """Why nothing can be concluded from the undefended update; empty if it can."""
        ...

    def holds(self, tried: TriedT) -> bool:
        """Whether the strength is enough."""
        ...

    def confirmed(self, tried: TriedT) -> tuple[str, str]:
        """What a strength lets through that holds: for a sentence, and what is to be added."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """What was asked for, for calibration.json."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NoImages:
    """No image comes back: what the strongest of the attackers tried makes of the update cannot be
    told from what it makes of noise alone, by more than ``margin`` in RDLV.
    """

    margin: float = MARGIN

    @property
    def needs_noise_alone(self) -> bool:
        """Whether it compares with attacks on noise alone."""
        return True

    def tried(
        self,
        strength: float,
        seeds: Sequence[int],
        found: Found,
        bare: Found | None,
        *,
        fresh: bool = False,
    ) -> TriedStrength:
        """The attacker with the highest bound."""
        images = None if bare is None else images_of(bare.update.rows)
        return probe_of(strength, seeds, found, images, fresh)

    def holds(self, tried: TriedStrength) -> bool:
        """See the class."""
        return tried.excess_upper95 <= self.margin and not tried.found

    def no_baseline(self, bare: TriedStrength, found: Found) -> str:
        """Why nothing can be concluded from the undefended update; empty if it can."""
        return _no_baseline(bare, found, self.margin)

    def confirmed(self, tried: TriedStrength) -> tuple[str, str]:
        """What a strength lets through that holds: for a sentence, and what is to be added."""
        text = (
            f"RDLV {tried.rdlv_mean:+.3f}, above that of noise alone by at most "
            f"{tried.excess_upper95:+.3f} (95 %, over {tried.over}; margin {self.margin:g})"
        )
        more = ""
        if tried.above:
            more += f"; {tried.above} of {tried.images} images are still nearer than the prior"
        if tried.refused:
            more += f"; in {tried.refused} runs the attack found nothing left to match"
        return text, more

    def settings(self) -> Mapping[str, Any]:
        """For calibration.json."""
        return {"margin": self.margin}


def _no_baseline(bare: TriedStrength, found: Found, margin: float) -> str:
    """Why nothing can be concluded from this site's undefended update; empty if it can."""
    if found.contradicted:
        return (
            f"inconclusive: the update contradicts what was said of it ({found.contradicted[0]}), "
            "so an attack that was told so would prove nothing by its failure under a defence"
        )
    if not any(h.reached for h in found.health.values()):
        whys = (h.why for h in found.health.values() if h.why)
        why = next(whys, "its easy case was not inverted")
        return (
            f"inconclusive: no attack is in working order here ({why}), so its failure under a "
            "defence would prove nothing"
        )
    if bare.excess_upper95 <= margin and bare.found:
        return (
            "inconclusive: by its own losses the attack found images in the undefended update, and "
            "they match no listed one; name the list that the site trained with"
        )
    if bare.excess_upper95 <= margin:
        return (
            "no strength: even the undefended update gives these attacks nothing (RDLV "
            f"{bare.rdlv_mean:+.3f}, above that of noise alone by at most "
            f"{bare.excess_upper95:+.3f}), so no strength can be seen to protect; a stronger "
            "attack may find more"
        )
    return ""
