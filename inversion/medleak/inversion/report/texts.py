"""Texts of an audit, which a stranger may have made as long as he liked, for a sentence."""

from collections.abc import Iterable, Sequence

_MOST_NAMES = 9


def short(text: str, longest: int = 80) -> str:
    """``text``, cut where it is too long to be read."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def names(sites: Iterable[str]) -> str:
    """Different sites by name, of very many only some."""
    shown = [short(n, 60) for n in dict.fromkeys(sites)]
    if len(shown) > _MOST_NAMES:
        shown = [*shown[: _MOST_NAMES - 1], f"{len(shown) - _MOST_NAMES + 1} more sites"]
    return listed(shown)


def ranges(numbers: Sequence[int]) -> str:
    """``1, 4-9``."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
