"""Attacks by name: what an audit runs when it is told ``row_space:seconds=12``."""

import dataclasses
import functools
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from medleak.inversion.reconstruction import Reconstruction
from medleak.inversion.results.case import AVERAGE

_Settings = TypeVar("_Settings")


@dataclass(frozen=True, slots=True)
class AttackKind:
    """An attack module as the audit sees it: its hyper-parameters, and its ``run``.

    ``run(settings, observation, prior, *, generator, on_progress)``, with ``prior`` [1, C, H, W]
    or None where the attacker's knowledge withholds it, returns a `Reconstruction`.

    ``run_average`` takes a sequence of observations of one site in the place of the one, oldest
    first. An item is made when it is asked for and not kept: hold what is needed of it. None: the
    attack cannot join rounds.
    """

    settings: type[Any]
    run: Callable[..., Reconstruction]
    run_average: Callable[..., Reconstruction] | None = None


AttackTable = Mapping[str, Callable[[], AttackKind]]


def _load(name: str, settings: str) -> AttackKind:
    module = importlib.import_module(f"medleak.inversion.attacks.{name}")
    return AttackKind(getattr(module, settings), module.run, getattr(module, "run_average", None))


ATTACKS: dict[str, Callable[[], AttackKind]] = {
    name: functools.partial(_load, name, settings)  # not a closure: it goes to other processes
    for name, settings in {
        "row_space": "RowSpace",
        "epochwise_bn": "EpochwiseBN",
        "inverting_gradients": "InvertingGradients",
        "grad_inversion": "GradInversion",
        "dlg": "DLG",
        "idlg": "IDLG",
        "cpl": "CPL",
    }.items()
}
"""Attacks by name. Each is imported when it is asked for."""


def attack_of(spec: str, table: AttackTable = ATTACKS) -> tuple[AttackKind, Any]:
    """The attack that ``name`` or ``name:key=value,…`` means, and its settings.

    Raises:
        ValueError: Unknown name, `AVERAGE` before an attack that cannot join rounds, or see
            `settings_of`.
    """
    name, rest = attack_name(spec), spec.partition(":")[2]
    if name not in table:
        raise ValueError(f"Unknown attack {name!r}; known are {', '.join(sorted(table))}.")
    kind = table[name]()
    if spec.startswith(AVERAGE) and kind.run_average is None:
        raise ValueError(
            f"Attack {name} cannot join several rounds, so {spec!r} would be the attack on one. "
            "Leave the averaging out, or choose an attack whose module defines run_average."
        )
    return kind, settings_of(kind.settings, rest, f"Attack {name}")


def attack_name(spec: str) -> str:
    """Key in a table of attacks of ``name:key=value,…``, averaging or not."""
    return spec.removeprefix(AVERAGE).partition(":")[0].strip()


def settings_of(kind: type[_Settings], text: str, what: str) -> _Settings:
    """A frozen record of type ``kind`` from ``key=value,…``; lists are joined by ``|``.

    Raises:
        ValueError: An unknown key, a malformed pair, or a value that the record refuses.
    """
    known = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    given: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, equals, value = (t.strip() for t in part.partition("="))
        if not (key and equals and value):
            raise ValueError(f"{what}: {part!r} is not of the form key=value.")
        if key not in known:
            raise ValueError(f"{what} has no {key!r}; it takes {', '.join(known)}.")
        given[key] = (
            [_plain(v.strip()) for v in value.split("|")] if "|" in value else _plain(value)
        )
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise ValueError(f"{what}: {where} = {first['input']!r}: {first['msg']}.") from None


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
