"""Texts that may identify somebody, by kind, and whether a name holds one.

The rule, which errs towards refusing: what has fewer than three letters or digits never counts, nor
do words that name a class more often than a person (`forms.common_words`). A single word of a
person's name, or an identifier without a digit, counts for the folder in which its own file lies;
two words, numbers and dates count for every name. In prose (descriptions, protocols) only numbers
count, and texts as a whole from twelve characters on: its words are those of classes.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from medleak.custom.identity import forms

Kind = Literal["person", "identifier", "moment", "prose", "free"]
"""``free``: comments, histories, text beside an image's pixels: prose whose words count, too."""

_TITLES = {"dr", "prof", "med", "mr", "mrs", "ms", "miss", "herr", "frau", "jr", "sr", "ii", "iii"}
_LEAST = 3  # letters and digits of anything that counts
_INSIDE = 5  # of an identifier that counts within a longer word
_NUMBER = 4  # digits of a number in prose
_WHOLE = 12  # characters of prose that counts as a whole


@dataclass(frozen=True, slots=True)
class Value:
    """A text, what kind of one, and its place: never shown is the text."""

    text: str
    kind: Kind
    place: str


def matches(value: Value, name: str, *, own: bool) -> bool:
    """Whether ``name`` is, or holds, what ``value`` says.

    Args:
        value: From a file.
        name: Of a class, a site, a set.
        own: The file lies in what has the name.
    """
    return _MATCHES[value.kind](value.text, name, own)


def _person(text: str, name: str, own: bool) -> bool:
    """By the components of each group of a PN: alphabetic, ideographic, phonetic."""
    for group in text.split("="):
        family, _, rest = group.partition("^")
        if not rest and "," in family:
            family, _, rest = family.partition(",")
        for ours, theirs, others in itertools.product(
            forms.forms(name), forms.forms(family), forms.forms(rest)
        ):
            if _is_person(ours, _meaning(theirs), _meaning(others), own):
                return True
    return False


def _is_person(
    ours: tuple[str, ...], family: Sequence[str], rest: Sequence[str], own: bool
) -> bool:
    inside, joined = set(ours), "".join(ours)
    people = [w for w in (*family, *rest) if _long_enough(w)]
    if len({w for w in people if w in inside and not _is_common(w)}) > 1:
        return True
    words = dict.fromkeys([*family, *rest])
    for first, second in itertools.permutations(words, 2):
        telling = any(_long_enough(w) and not _is_common(w) for w in (first, second))
        if telling and _size(first + second) >= 6 and first + second in joined:
            return True
    initials = {w[0] for w in rest}
    for word in family:
        combined = {f"{i}{word}" for i in initials} | {f"{word}{i}" for i in initials}
        if (
            _long_enough(word)
            and not _is_common(word)
            and (combined & inside or joined in combined)
        ):
            return True
    if not own:
        return False
    known = [w for w in family if _long_enough(w)]
    if known and not all(map(_is_common, known)) and inside.issuperset(family):
        return all(word.isalpha() or word in inside for word in rest)
    if any(len(w) >= 6 and w in joined and not _is_common(w) for w in family if w.isalpha()):
        return True
    return any(joined == w and len(w) > _LEAST and not _is_common(w) for w in rest)


def _meaning(words: Sequence[str]) -> list[str]:
    return [word for word in words if word not in _TITLES]


def _identifier(text: str, name: str, own: bool) -> bool:
    if "^" in text and _person(text, name, own):
        return True
    if not forms.digits(text) and not own:
        return False
    return any(
        _identifies(theirs, ours) for ours in forms.forms(name) for theirs in forms.forms(text)
    )


def _identifies(theirs: tuple[str, ...], ours: tuple[str, ...]) -> bool:
    value, joined = "".join(theirs), "".join(ours)
    if not _long_enough(value) or _is_common(value) or all(map(_is_common, theirs)):
        return False
    runs = {"".join(ours[i:j]) for i in range(len(ours)) for j in range(i + 1, len(ours) + 1)}
    if value in runs or (len(value) >= _INSIDE and forms.digits(value) and value in joined):
        return True
    numbers = {n.lstrip("0") for n in re.findall(r"\d+", joined)}
    core = "".join(re.findall(r"\d+", value)).lstrip("0")
    if core in numbers and len(core) >= (_LEAST if value.isdecimal() else _INSIDE):
        return True
    # A part of an identifier: the folder named after the last numbers of a UID.
    return len(joined) > _INSIDE and forms.digits(joined) >= _NUMBER and joined in value


def _moment(text: str, name: str, own: bool) -> bool:
    del own
    day = text[:8]
    if len(day) == 8 and day.isdecimal():
        return bool(forms.dates(day) & forms.dates(name))
    time = text.partition(".")[0]
    return len(time) == 6 and time.isdecimal() and time in re.findall(r"\d+", name)


def _prose(text: str, name: str, own: bool) -> bool:
    del own
    joined, whole = forms.plain(name), forms.plain(text)
    if len(whole) >= _WHOLE and whole in joined:
        return not all(all(map(_is_common, words)) for words in forms.forms(text))
    if len(joined) > _INSIDE and forms.digits(joined) >= _NUMBER and joined in whole:
        return not _is_common(joined)
    for words in forms.forms(text):
        pairs = [a + b for a, b in itertools.pairwise(words)]
        for token in (*words, *pairs):
            number = forms.digits(token) >= _NUMBER and len(token) > _INSIDE
            if (number or (token.isdecimal() and len(token) >= _INSIDE)) and token in joined:
                return not _is_common(token)
    return bool(forms.dates(text) & forms.dates(name))


def _free(text: str, name: str, own: bool) -> bool:
    if _prose(text, name, own):
        return True
    if "^" in text and any(_person(part, name, own) for part in re.split(r"[\s;|:]+", text)):
        return True
    for ours, theirs in itertools.product(forms.forms(name), forms.forms(text)):
        telling = [w for w in ours if not _is_common(w) and _long_enough(w) and w.isalpha()]
        known = [w for w in telling if w in theirs]
        if telling and known == telling and (own or len(telling) > 1):
            return any(len(w) > _LEAST for w in telling)
    return False


_MATCHES: Mapping[Kind, Callable[[str, str, bool], bool]] = {
    "person": _person,
    "identifier": _identifier,
    "moment": _moment,
    "prose": _prose,
    "free": _free,
}


def _long_enough(word: str) -> bool:
    """Three letters of an alphabet, or two signs of a script in which they are words."""
    return len(word) > 1 and _size(word) >= _LEAST


def _size(word: str) -> int:
    """Letters; a sign that is a word or syllable counts as three."""
    return sum(3 if ord(c) > 0x2E7F else 1 for c in word)


def _is_common(word: str) -> bool:
    return word in forms.common_words()
