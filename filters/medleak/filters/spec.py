"""The text of a defence or an attack, ``name:key=value,…``, as a record.

Nothing else cuts or glues such texts. A value is JSON where it can be (``10``, ``1e-3``, ``true``),
else text; a list is joined by ``|`` and closed by one where it has a single element or none. Text
that would read as something else stands in double quotes, as in JSON. Defences follow each other
joined by ``+``.
"""

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Scalar = str | int | float | bool | None
Value = Scalar | tuple[Scalar, ...]

_MARKS = frozenset(':=,|+"{}')
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)
# Numbers that people write and JSON does not know.
_LOOSE_NUMBER = re.compile(r"[-+]?(?:\d+\.|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Spec:
    """One defence or attack by name, with the arguments that were given, in their order.

    >>> spec = Spec.parse("percentile_gaussian:sigma0=10, scope=group")
    >>> spec.name, spec.args
    ('percentile_gaussian', {'sigma0': 10, 'scope': 'group'})
    >>> str(spec.with_(sigma0=0.5, buffers="drop"))
    'percentile_gaussian:sigma0=0.5,scope=group,buffers=drop'
    >>> str(spec.without("sigma0"))
    'percentile_gaussian:scope=group'

    Equal specs have the same name, arguments and order; 10 equals 10.0.
    """

    name: str
    pairs: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        """Reject what its own text could not say."""
        for what, word in (("name", self.name), *(("key", key) for key, _ in self.pairs)):
            if not word or word != word.strip() or _MARKS & set(word):
                raise ValueError(
                    f"{word!r} is no {what} of a defence or attack: it would be cut when the text "
                    "is read again. Give name or name:key=value,…"
                )
        keys = [key for key, _ in self.pairs]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"{self.name}: {twice} is given twice. Leave one of them out.")

    @classmethod
    def of(cls, name: str, args: Mapping[str, Any]) -> "Spec":
        """``name`` with arguments as JSON has them; a mapping among the values is kept as its text.

        >>> str(Spec.of("withhold", {"layers": ["fc.*", "conv1.*"]}))
        'withhold:layers=fc.*|conv1.*'
        """
        return cls(name, tuple((str(key), _frozen(value)) for key, value in args.items()))

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Read ``name`` or ``name:key=value,…``.

        Raises:
            ValueError: There is no name, or a part is not of the form key=value, or given twice.
        """
        name, _, rest = text.partition(":")
        return cls(name.strip(), tuple(_pair(p, text) for p in _cut(rest, ",") if p.strip()))

    @property
    def args(self) -> dict[str, Value]:
        """The arguments by name: a new dictionary at each call."""
        return dict(self.pairs)

    def with_(self, **args: Any) -> "Spec":
        """The same with other arguments: known ones in their place, new ones behind."""
        return Spec.of(self.name, self.args | args)

    def led_by(self, **args: Any) -> "Spec":
        """The same with these arguments in front, as the strength of a defence reads best.

        >>> str(Spec.parse("top_k:buffers=drop").led_by(fraction=0.1))
        'top_k:fraction=0.1,buffers=drop'
        """
        return Spec.of(self.name, args | self.without(*args).args)

    def without(self, *keys: str) -> "Spec":
        """The same without some arguments; those that it has not are no error."""
        return Spec(self.name, tuple(pair for pair in self.pairs if pair[0] not in keys))

    def number(self, key: str) -> float | None:
        """The argument as a number; None where it is none, or missing."""
        value = self.args.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            return float(value)
        except OverflowError:
            return None

    def __str__(self) -> str:
        """The text that `parse` reads as this."""
        arguments = ",".join(f"{key}={_written(value)}" for key, value in self.pairs)
        return f"{self.name}:{arguments}" if arguments else self.name


@dataclass(frozen=True, slots=True)
class SpecChain:
    """Defences one after the other, ``first+second:key=value``; at least one.

    >>> chain = SpecChain.parse("withhold + percentile_gaussian:scope=group")
    >>> chain.names, str(chain.led_by(sigma0=3))
    (('withhold', 'percentile_gaussian'), 'withhold+percentile_gaussian:sigma0=3,scope=group')
    """

    steps: tuple[Spec, ...]

    def __post_init__(self) -> None:
        """Reject an empty chain."""
        if not self.steps:
            raise ValueError("A chain needs at least one defence.")

    @classmethod
    def parse(cls, text: str) -> "SpecChain":
        """Read specs joined by ``+``; the plus of an exponent, as in 1e+3, joins nothing.

        Raises:
            ValueError: See `Spec.parse`.
        """
        return cls(tuple(Spec.parse(step.strip()) for step in _cut(text, "+")))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the steps."""
        return tuple(step.name for step in self.steps)

    @property
    def last(self) -> Spec:
        """The step that is applied last: of several, the one whose strength is turned."""
        return self.steps[-1]

    def with_(self, **args: Any) -> "SpecChain":
        """`Spec.with_` of the last step."""
        return SpecChain((*self.steps[:-1], self.last.with_(**args)))

    def led_by(self, **args: Any) -> "SpecChain":
        """`Spec.led_by` of the last step."""
        return SpecChain((*self.steps[:-1], self.last.led_by(**args)))

    def without(self, *keys: str) -> "SpecChain":
        """`Spec.without` of every step."""
        return SpecChain(tuple(step.without(*keys) for step in self.steps))

    def __str__(self) -> str:
        """The text that `parse` reads as this."""
        return joined(self.steps, "+")


def joined(steps: Iterable[Spec], by: str = " + ") -> str:
    """Texts of ``steps`` in a row; tables for people have spaces about the plus."""
    return by.join(map(str, steps))


def rounded(value: float) -> int | float:
    """Six digits, whole numbers without ``.0``: a strength as people write it.

    >>> rounded(10.0), rounded(0.1234567)
    (10, 0.123457)
    """
    short = float(f"{value:g}")
    return int(short) if short.is_integer() else short


def _cut(text: str, mark: str) -> list[str]:
    """Parts between ``mark``, which counts outside of quotes and braces only."""
    tokens = _TOKEN.findall(text)
    parts, depth = [""], 0
    for token, following in itertools.pairwise([*tokens, ""]):
        depth += (token == "{") - (token == "}")
        exponent = (
            mark == "+" and following.isdecimal() and re.search(r"[\d.][eE]$", parts[-1][-2:])
        )
        if token == mark and depth <= 0 and not exponent:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _pair(part: str, text: str) -> tuple[str, Value]:
    key, equals, value = (t.strip() for t in part.partition("="))
    if not (key and equals and value):
        raise ValueError(f"{text!r}: {part.strip()!r} is not of the form key=value.")
    elements = [e.strip() for e in _cut(value, "|")]
    if len(elements) == 1:
        return key, _plain(value)
    if not elements[-1]:
        elements.pop()
    if elements == [""]:
        return key, ()
    return key, tuple(e if isinstance(e, Scalar) else str(e) for e in map(_plain, elements))


def _plain(text: str) -> Value:
    """What the text of a value means."""
    if _LOOSE_NUMBER.fullmatch(text):
        return float(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, list) and all(isinstance(e, Scalar) for e in value):
        return tuple(value)
    return value if isinstance(value, Scalar) else text


def _frozen(value: Any) -> Value:
    if isinstance(value, list | tuple):
        return tuple(e if isinstance(e, Scalar) else json.dumps(e) for e in value)
    return value if isinstance(value, Scalar) else json.dumps(value)


def _written(value: Value) -> str:
    if isinstance(value, tuple):
        closed = "|" * (len(value) < 2)
        return "|".join(map(_written, value)) + closed
    if isinstance(value, str):
        return value if _reads_as_itself(value) else json.dumps(value)
    return json.dumps(value).replace("e+", "e")


def _reads_as_itself(text: str) -> bool:
    if not text or text != text.strip() or _plain(text) != text:
        return False
    if text.startswith("{"):  # text of a mapping: what stands in its braces is not cut
        try:
            return isinstance(json.loads(text), dict)
        except (ValueError, RecursionError):
            return False
    return not set(',|+"{}') & set(text)
