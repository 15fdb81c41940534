"""All attacks, a row each, and how one is had by name: ``row_space:seconds=12``.

To add an attack:

1. Write it in a file of its own in this folder: a frozen record of its hyper-parameters, and
   ``run(settings, observation, prior, *, generator, on_progress=None)``, which returns a
   `Reconstruction`. An attack that can join several rounds defines ``run_average`` too.
2. Add an `AttackRow` to `ROWS` below. The file is imported when the attack is asked for.

From the row come: the name in ``medleak audit --attack`` and its help, the words and the source in
the report, the stated rate of the time estimate, and the attack's place in the contract tests.
"""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from medleak.inversion.results.case import AVERAGE, AttackSpec

if TYPE_CHECKING:  # the command's help lists the rows, and must not wait for torch
    from medleak.inversion.reconstruction import Reconstruction

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
    run: "Callable[..., Reconstruction]"
    run_average: "Callable[..., Reconstruction] | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackRow:
    """Everything about an attack that is not in its own file.

    Attributes:
        name: As in ``medleak audit --attack``, and of its module beside this one.
        settings: Name of its record of hyper-parameters.
        words: What it does, in a few plain words, for the help and the report.
        source: Where it comes from.
        rate: CPU seconds for one image of 64 x 64 px in a ResNet-18, one step, one thread; an order
            of size, for the estimate before anything is measured.
        averages: Whether it can join several rounds of a site.
    """

    name: str
    settings: str
    words: str
    source: str
    rate: float = 60.0
    averages: bool = False

    def load(self) -> AttackKind:
        """Import the attack."""
        module = importlib.import_module(f"medleak.inversion.attacks.{self.name}")
        average = module.run_average if self.averages else None
        return AttackKind(getattr(module, self.settings), module.run, average)


ROWS: tuple[AttackRow, ...] = (
    AttackRow(
        name="row_space",
        settings="RowSpace",
        words="matches row spaces of convolutions and batch statistics; the strongest here",
        source="medleak (docs/explanation/attacks.md): row spaces of convolutions and batch "
        "statistics",
        rate=10.0,
        averages=True,
    ),
    AttackRow(
        name="epochwise_bn",
        settings="EpochwiseBN",
        words="matches batch-norm statistics step by step, then the update too",
        source="Hatamizadeh et al., IEEE TMI 2023, arXiv:2202.06924, eq. 1-5",
    ),
    AttackRow(
        name="inverting_gradients",
        settings="InvertingGradients",
        words="matches the direction of the update; smooth images preferred",
        source="Geiping et al., NeurIPS 2020, arXiv:2003.14053",
    ),
    AttackRow(
        name="grad_inversion",
        settings="GradInversion",
        words="matches the update under fidelity terms, from starts that must agree",
        source="Yin et al., CVPR 2021, arXiv:2104.07586",
    ),
    AttackRow(
        name="dlg",
        settings="DLG",
        words="matches the gradient; images and labels searched together",
        source="Zhu et al., NeurIPS 2019, arXiv:1906.08935",
    ),
    AttackRow(
        name="idlg",
        settings="IDLG",
        words="matches the gradient; the label is read from its signs first",
        source="Zhao et al. 2020, arXiv:2001.02610",
    ),
    AttackRow(
        name="cpl",
        settings="CPL",
        words="matches the gradient from geometric starts, with a term for the label",
        source="Wei et al., ESORICS 2020, arXiv:2004.10397",
    ),
)
"""The table of attacks, in the order of the help."""

AttackTable = Mapping[str, Callable[[], AttackKind]]

ATTACKS: dict[str, Callable[[], AttackKind]] = {row.name: row.load for row in ROWS}
"""Attacks by name. Each is imported when it is asked for; a loader can go to other processes."""


def row_of(name: str) -> AttackRow | None:
    """The row of the attack called ``name``; None where it is none of ours.

    >>> row_of("idlg").source
    'Zhao et al. 2020, arXiv:2001.02610'
    """
    return next((row for row in ROWS if row.name == name), None)


def attack_of(text: str, table: AttackTable = ATTACKS) -> tuple[AttackKind, Any]:
    """The attack that ``name`` or ``name:key=value,…`` means, and its settings.

    Raises:
        ValueError: Unknown name, `AVERAGE` before an attack that cannot join rounds, or see
            `settings_of`.
    """
    asked = AttackSpec.parse(text)
    if asked.name not in table:
        raise ValueError(f"Unknown attack {asked.name!r}; known are {', '.join(sorted(table))}.")
    kind = table[asked.name]()
    if asked.averages and kind.run_average is None:
        raise ValueError(
            f"Attack {asked.name} cannot join several rounds, so {text!r} would be the attack on "
            f"one. Leave {AVERAGE} out, or choose an attack whose module defines run_average."
        )
    return kind, settings_of(kind.settings, asked.spec.args, f"Attack {asked.name}")


def attack_name(text: str) -> str:
    """Key in a table of attacks of ``name:key=value,…``, averaging or not; ``text`` if it is none.

    For texts of files that anybody may have written; `AttackSpec.parse` refuses those.
    """
    try:
        return AttackSpec.parse(text).name
    except ValueError:
        return text


def settings_of(kind: type[_Settings], args: Mapping[str, Any], what: str) -> _Settings:
    """A frozen record of type ``kind`` from arguments as text has them.

    Raises:
        ValueError: An unknown key, or a value that the record refuses.
    """
    from pydantic import TypeAdapter, ValidationError

    known = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    if unknown := [key for key in args if key not in known]:
        raise ValueError(f"{what} has no {unknown[0]!r}; it takes {', '.join(known)}.")
    try:
        return TypeAdapter(kind).validate_python(dict(args))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise ValueError(f"{what}: {where} = {first['input']!r}: {first['msg']}.") from None
