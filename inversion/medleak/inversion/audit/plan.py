"""What an audit is to try: every combination of update, attack, defence, knowledge and seed."""

import dataclasses
import functools
import hashlib
import importlib
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from medleak.custom.record import list_updates
from medleak.filters.registry import defence
from medleak.inversion.observation import Knowledge
from medleak.inversion.reconstruction import Reconstruction

NO_DEFENCE = "none"
"""The update is attacked as it was recorded; what the site declared is in it already."""

AVERAGE = "average/"
"""Before an attack's name: it joins all rounds of the site up to the case's own."""

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


@dataclass(frozen=True, slots=True, order=True)
class Case:
    """One attack on one update; texts are as in results.csv, `NO_DEFENCE` for none."""

    round: int
    site: str
    attack: str
    defence: str
    knowledge: str
    seed: int

    @property
    def averages(self) -> bool:
        """Whether the attack joins the rounds up to this one."""
        return self.attack.startswith(AVERAGE)

    @property
    def name(self) -> str:
        """Unique name, usable as a file name: readable, and closed by a hash of all fields."""
        readable = f"round_{self.round:04d}_{self.site}_{self.attack}_{self.defence}"
        slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", readable)[:90]
        return f"{slug}_seed{self.seed}_{self._digest().hex()[:6]}"

    @property
    def stream(self) -> int:
        """Seed of the case's generator: independent of which other cases run, and in what order."""
        return int.from_bytes(self._digest()[:8], "big") >> 1

    def _digest(self) -> bytes:
        text = "\x1f".join(map(str, dataclasses.astuple(self)))
        return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides an audit's results, and where they go.

    Attributes:
        records: Records directory (`medleak.custom.record.find_records`).
        out: Audit directory; one that holds the same audit is gone on with.
        rounds: Rounds to audit; None: all that are recorded.
        sites: Likewise.
        attacks: ``name`` or ``name:key=value,…``; see `settings_of`. After `AVERAGE` the attack
            joins a site's recorded rounds; it has one case a site, at the last round to audit.
        defences: Replayed on the recorded update: `NO_DEFENCE`, or as `medleak.filters` names them.
        knowledge: What the attackers know.
        seeds: One run a seed: attack starts and replayed noise depend on it.
        prior: ``gray``, ``phantoms`` or a picture's path.
        truth: A site's datalist, or a folder with one a site; None: look beside the records.
        embedding: Network of IIP (`medleak.inversion.measures.embedding.load_embedding`); None:
            ImageNet's, if it is on this machine.
        neighbours: Nearest neighbours that IIP looks at.
        device: Where attacks run.
        allowed_prefixes: Origins of model factories that the caller trusts beside the usual.
        only: Of the grid, the (site, defence, seed) that are wanted; None: all.
        keep_iterations: Iterations of each attack to keep as pictures; 0: none.
        perceptual: Measure LPIPS as well: ``alexnet``, or a file with its weights
            (`medleak.inversion.measures.perceptual.load_perceptual`). None: do not.
    """

    records: Path
    out: Path
    rounds: Sequence[int] | None = None
    sites: Sequence[str] | None = None
    attacks: Sequence[str] = ("row_space",)
    defences: Sequence[str] = (NO_DEFENCE,)
    knowledge: Sequence[Knowledge] = (Knowledge(),)
    seeds: Sequence[int] = (0,)
    prior: str = "gray"
    truth: Path | None = None
    embedding: str | None = None
    neighbours: int = 1
    device: str = "cpu"
    allowed_prefixes: Sequence[str] = ()
    only: frozenset[tuple[str, str, int]] | None = None
    keep_iterations: int = 0
    perceptual: str | None = None

    def cases(self) -> list[Case]:
        """All cases, each once, in order of round and site.

        Raises:
            ValueError: A round or site is not recorded, or a defence is unknown or unusable.
        """
        for spec in self.defences:
            if spec != NO_DEFENCE:
                defence(spec)
        knowledge = [k.describe() for k in self.knowledge]
        grid = (self.attacks, self.defences, knowledge, self.seeds)
        updates = self.updates()
        last = {site: round for round, site in updates}
        cases = (
            Case(round, site, *combination)
            for round, site in updates
            for combination in itertools.product(*grid)
        )
        return list(
            dict.fromkeys(
                case
                for case in cases
                if (not case.averages or case.round == last[case.site])
                and (self.only is None or (case.site, case.defence, case.seed) in self.only)
            )
        )

    def updates(self) -> list[tuple[int, str]]:
        """(round, site) of the recorded updates that the plan is about, in order.

        Raises:
            ValueError: A round or site is not recorded.
        """
        recorded = list_updates(self.records)
        if not recorded:
            raise ValueError(
                f"{self.records} holds a manifest and no update: there is nothing to audit. Let "
                "the job run for a round, or name another run."
            )
        rounds, sites = ({k: None for k in column} for column in zip(*recorded, strict=True))
        for what, asked, known in (("round", self.rounds, rounds), ("site", self.sites, sites)):
            if asked is not None and (unknown := [a for a in asked if a not in known]):
                raise ValueError(
                    f"{what.capitalize()} {unknown[0]} is not in {self.records}: recorded are "
                    f"{what}s {_listed(list(known))}. Choose among them; `medleak records ls` "
                    "shows what there is."
                )
        chosen = [
            (round, site)
            for round, site in recorded
            if (self.rounds is None or round in self.rounds)
            and (self.sites is None or site in self.sites)
        ]
        if not chosen:
            raise ValueError(
                f"No update of {self.records} is of the rounds and of the sites asked for: rounds "
                f"{_listed(self.rounds)}, sites {_listed(self.sites)}. `medleak records ls` shows "
                "which site sent in which round."
            )
        return chosen


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


def knowledge_of(text: str) -> Knowledge:
    """Attacker knowledge from ``key=value,…``; ``all`` or nothing: the default.

    Raises:
        ValueError: See `settings_of`.
    """
    return settings_of(Knowledge, "" if text.strip() == "all" else text, "Knowledge")


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


def _listed(values: Sequence[Any] | None) -> str:
    """All of a few values, else the first and the last: error messages stay one line."""
    texts = [str(v) for v in values or ()]
    if not texts:
        return "any"
    return ", ".join(texts if len(texts) <= 12 else [*texts[:6], "…", *texts[-3:]])
