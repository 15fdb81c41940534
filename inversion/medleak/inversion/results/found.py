"""Whether an attack's own losses say that it found something, whatever a list of images says.

An attack that found an image explains the update with it; that the image is on no list of ours is
no sign that nothing leaked. The yardstick is made on the spot: below it is the loss at which the
same attack, knowing the same, ended on the easy case, which it did find; above it the loss of what
everybody has, the prior, on the very update. On a scale of logarithms, found is what ended nearer
to the former.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from medleak.inversion.results.rows import Row

Losses = Mapping[str, float]

_LEAST = 1e-9  # a loss of float32 images cannot be told from zero below


def at_the_level_of_found(losses: Losses, start: Losses, easy: Losses) -> bool | None:
    """Whether ``losses`` are those of something found.

    Every loss that can tell has to say so: one that the prior explains no worse than the easy case
    was explained cannot.

    Args:
        losses: Of the result, by name.
        start: Of the prior on the same update, likewise; noise on the update is in it too.
        easy: Of the result of the easy case.

    Returns:
        None where nothing can be said: no loss of that name, or none that can tell.

    Examples:
        >>> easy = {"span": 0.0001}
        >>> at_the_level_of_found({"span": 0.001}, {"span": 0.4}, easy)
        True
        >>> at_the_level_of_found({"span": 0.1}, {"span": 0.4}, easy)
        False
        >>> at_the_level_of_found({}, {}, easy) is None
        True
    """
    telling = [
        losses[name] <= math.sqrt(max(easy[name], _LEAST) * start[name])
        for name in losses
        if name in start and name in easy and start[name] > max(easy[name], _LEAST)
    ]
    return all(telling) if telling else None


def found_by_losses(row: Row, health: Mapping[str, Any] | None) -> bool | None:
    """`at_the_level_of_found` of the case that ``row`` belongs to.

    Args:
        row: Any of the case.
        health: Of the attack, knowing the same; None: no easy case was tried.

    Returns:
        False where the attack knows that it was stuck; None where nothing can be said.
    """
    if row.stuck:
        return False
    if health is None or not health.get("reached"):
        return None
    easy = health.get("losses")
    if not isinstance(easy, Mapping):
        return None
    known = {str(n): float(v) for n, v in easy.items() if isinstance(v, int | float)}
    return at_the_level_of_found(parse(row.losses), parse(row.start_losses), known)


def unidentified(rows: Sequence[Row], health: Mapping[str, Any] | None) -> list[Row]:
    """The rows whose attack found something by its own losses."""
    return [row for row in rows if found_by_losses(row, health)]


def parse(text: str) -> dict[str, float]:
    """Losses as a row holds them, ``name=value`` joined by spaces; without those that are none.

    Examples:
        >>> parse("statistics=0.002 span=1e-07")
        {'statistics': 0.002, 'span': 1e-07}
    """
    found = {}
    for word in text.split():
        name, _, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number) and number >= 0:
            found[name] = number
    return found
