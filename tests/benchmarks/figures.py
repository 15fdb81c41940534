"""What benchmarks of attacks make of their figures: means, and what was missed."""

from collections.abc import Iterable, Sequence

Target = tuple[str, float | None, float | None, int]
"""(name, what must be reached or None, what was, 1 for at least and -1 for at most)."""


def mean(values: Sequence[float]) -> float:
    """Of at least one."""
    return sum(values) / len(values)


def missed(targets: Iterable[Target]) -> list[str]:
    """The targets that were not reached; a figure that is NaN, or that there is none of, is none.

    Examples:
        >>> missed([("mean", 0.9, 0.95, 1), ("seconds", 8, 9.5, -1), ("labels", 0.95, None, 1)])
        ['seconds 9.5 not 8', 'labels not read, not 0.95']
        >>> missed([("mean", 0.9, float("nan"), 1), ("labels", None, None, 1)])
        ['mean nan not 0.9']
    """
    found = []
    for name, target, value, sign in targets:
        if target is None:
            continue
        if value is None:
            found.append(f"{name} not read, not {target:g}")
        elif not sign * value >= sign * target:
            found.append(f"{name} {value:.3g} not {target:g}")
    return found
