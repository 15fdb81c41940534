"""Texts in the forms in which people write them: without accents and signs; dates as dates."""

import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from importlib.resources import files

_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})
# Letters that NFKD leaves whole.
_WHOLE = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "\u0131": "i",
        "ħ": "h",
    }
)
_SHORT = 256
_SEPARATED = re.compile(r"(?<!\d)(?=(\d{1,4})[-_./ ]+(\d{1,2})[-_./ ]+(\d{1,4})(?!\d))")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def forms(text: str) -> frozenset[tuple[str, ...]]:
    """The words of ``text``, letters and digits alone, in each way to write its letters in Latin.

    Müller is ``muller`` and ``mueller``; Müller and Mueller have ``muller`` in common. Letters of
    other scripts stay as they are, after NFKD and case folding.
    """
    return _forms_of_short(text) if len(text) <= _SHORT else _forms_of_long(text)


def _forms(text: str) -> frozenset[tuple[str, ...]]:
    lower = unicodedata.normalize("NFC", text).casefold()
    plain = _without_accents(lower)
    german = _without_accents(lower.translate(_GERMAN))
    collapsed = re.sub(r"(?<=[aou])e", "", german)
    return frozenset(_words(t) for t in (plain, german, collapsed, re.sub(r"aa", "a", collapsed)))


_forms_of_short = lru_cache(maxsize=65536)(_forms)
# A text is compared with every name in a row; thousands of long ones would fill the memory.
_forms_of_long = lru_cache(maxsize=4)(_forms)


def plain(text: str) -> str:
    """The letters and digits of ``text`` in one, the first of its `forms`."""
    return "".join(_words(_without_accents(unicodedata.normalize("NFC", text).casefold())))


def digits(text: str) -> int:
    """How many digits there are in ``text``."""
    return sum(c.isdigit() for c in text)


@lru_cache(maxsize=1024)
def dates(text: str) -> frozenset[date]:
    """The days that ``text`` may speak of, whichever of day, month and year comes first."""
    lower = text.casefold()
    found: set[date] = set()
    for month, name in enumerate(_MONTHS, start=1):
        lower = re.sub(rf"(?<![a-z]){name}[a-z]*", f"-{month}-", lower)
    for run in re.findall(r"(?<!\d)\d{8}(?!\d)", lower):
        found.update(_days(run[:4], run[4:6], run[6:]), _days(run[:2], run[2:4], run[4:]))
    for run in re.findall(r"(?<!\d)\d{6}(?!\d)", lower):
        found.update(_days(run[:2], run[2:4], run[4:]))
    for match in _SEPARATED.finditer(lower):
        found.update(_days(*match.groups()))
    return frozenset(found)


def _days(first: str, second: str, third: str) -> Iterator[date]:
    orders = [(first, second, third), (third, second, first), (third, first, second)]
    for year, month, day in orders:
        for full in [year] if len(year) == 4 else ["19" + year, "20" + year]:
            if len(full) == 4 and len(month) <= 2 and len(day) <= 2:
                try:
                    yield date(int(full), int(month), int(day))
                except ValueError:
                    continue


@lru_cache(maxsize=1)
def common_words() -> frozenset[str]:
    """Words that name a class, a finding or a part of the body far more often than a person."""
    text = files("medleak.custom.identity").joinpath("common_words.txt").read_text(encoding="utf-8")
    return frozenset(text.split())


def _without_accents(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.translate(_WHOLE))
    return "".join(c for c in apart if not unicodedata.combining(c)).casefold()


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W_]+", text))
