"""All defences, a row each, and how one is had by name: an audit replays what a federation ran.

To add a defence:

1. Write it as a frozen record in a file of its own under ``medleak/filters/defences``, with a
   ``name`` and a ``__call__`` as `medleak.filters.defences.defence.Defence` says. Entries are
   chosen, and buffers kept sane, by `medleak.filters.buffers.protect_entries`.
2. Add a `DefenceRow` to `ROWS` below.

From the row come: the name in ``medleak audit --defence`` and its help, the range that ``medleak
calibrate`` searches, what sliders and charts order by, the words and the source in the report, the
NVFlare filter ``medleak.filters.adapters.<class name>`` (unless one is written by hand, for options
that the record has not), and the defence's place in the contract tests. A mechanism with a formal
guarantee says so in its row and in `medleak.filters.privacy.accounting.guarantee_of`.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from medleak.filters.defences.clipped_gaussian import ClippedGaussian
from medleak.filters.defences.clipped_laplace import ClippedLaplace
from medleak.filters.defences.composition import Composition
from medleak.filters.defences.defence import Defence
from medleak.filters.defences.percentile_gaussian import PercentileGaussian
from medleak.filters.defences.perturbation import GaussianPerturbation, LaplacePerturbation
from medleak.filters.defences.quantisation import Quantisation
from medleak.filters.defences.random_k import RandomK
from medleak.filters.defences.sign import Sign
from medleak.filters.defences.top_k import TopK
from medleak.filters.defences.withholding import Withhold
from medleak.filters.spec import Spec, SpecChain, joined

__all__ = [
    "DEFENCES",
    "ROWS",
    "Defence",
    "DefenceRow",
    "Strength",
    "build",
    "declaration",
    "declared_text",
    "defence",
    "row_of",
    "spec_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """The number that makes a defence stronger.

    Attributes:
        parameter: Its name.
        low: Least value that a calibration tries, > 0; None: no range is known. Ranges are wide:
            each bound is far beyond what would be used.
        high: Largest value, likewise.
        less_protects: Whether a smaller value protects more.
        nothing: Value at which the defence would be none.
    """

    parameter: str
    low: float | None = None
    high: float | None = None
    less_protects: bool = False
    nothing: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenceRow:
    """Everything about a defence that is not in its own file.

    Attributes:
        make: Its class.
        words: What it does, in a few plain words, for the help and the report.
        source: Where it comes from.
        example: Arguments under which it can be built, as ``key=value,…``.
        strengths: Numbers that make it stronger, the usual one first; none: nothing to turn.
        random: Whether it draws noise, so that two runs differ.
        formal: Whether it has an (ε, δ) guarantee.
    """

    make: type[Defence]
    words: str
    source: str
    example: str = ""
    strengths: tuple[Strength, ...] = ()
    random: bool = True
    formal: bool = False

    @property
    def name(self) -> str:
        """As in ``medleak audit --defence``."""
        return self.make.name

    @property
    def example_text(self) -> str:
        """A whole text that `defence` takes."""
        return f"{self.name}:{self.example}" if self.example else self.name


_KEPT = Strength(parameter="fraction", low=1e-4, high=0.5, less_protects=True, nothing=1.0)
_SCALE = Strength(parameter="scale", low=1e-6, high=10)
# One over the scale, so that there is no noise at infinity, which JSON has not.
_LEVEL = Strength(parameter="level", less_protects=True, nothing=1e9)
_MULTIPLIER = Strength(parameter="noise_multiplier", low=1e-4, high=100)

ROWS: tuple[DefenceRow, ...] = (
    DefenceRow(
        make=PercentileGaussian,
        words="Gaussian noise in units of the update's 95th percentile",
        source="Hatamizadeh et al., IEEE TMI 2023, arXiv:2202.06924, II-C",
        example="sigma0=10",
        strengths=(Strength(parameter="sigma0", low=0.01, high=100),),
    ),
    DefenceRow(
        make=GaussianPerturbation,
        words="Gaussian noise of a fixed scale",
        source="Wei et al., ESORICS 2020, arXiv:2004.10397; Das et al., arXiv:2409.18907, V-D",
        example="scale=0.01",
        strengths=(_SCALE, _LEVEL),
    ),
    DefenceRow(
        make=LaplacePerturbation,
        words="Laplace noise of a fixed scale",
        source="Wei et al., ESORICS 2020, arXiv:2004.10397; Das et al., arXiv:2409.18907, V-D",
        example="scale=0.01",
        strengths=(_SCALE, _LEVEL),
    ),
    DefenceRow(
        make=ClippedGaussian,
        words="the update clipped, then Gaussian noise: differential privacy of the client",
        source="Dwork & Roth 2014, Theorem A.1; McMahan et al., ICLR 2018, arXiv:1710.06963",
        example="max_grad_norm=9,noise_multiplier=2",
        strengths=(_MULTIPLIER,),
        formal=True,
    ),
    DefenceRow(
        make=ClippedLaplace,
        words="the update clipped in L1, then Laplace noise: pure differential privacy",
        source="Dwork, McSherry, Nissim, Smith 2006; Dwork & Roth 2014, Theorem 3.6",
        example="max_grad_norm=9,noise_multiplier=2",
        strengths=(_MULTIPLIER,),
        formal=True,
    ),
    DefenceRow(
        make=TopK,
        words="only the largest entries are sent",
        source="Aji & Heafield, EMNLP 2017, arXiv:1704.05021",
        example="fraction=0.1",
        strengths=(_KEPT,),
        random=False,
    ),
    DefenceRow(
        make=RandomK,
        words="only entries chosen at random are sent",
        source="Stich et al., NeurIPS 2018, arXiv:1809.07599; Konečný et al., arXiv:1610.05492",
        example="fraction=0.1",
        strengths=(_KEPT,),
    ),
    DefenceRow(
        make=Sign,
        words="only the signs are sent, and one magnitude a tensor",
        source="Bernstein et al., ICML 2018, arXiv:1802.04434",
        random=False,
    ),
    DefenceRow(
        make=Quantisation,
        words="entries rounded at random to a few bits",
        source="Alistarh et al. (QSGD), NeurIPS 2017, arXiv:1610.02132",
        example="bits=4",
        strengths=(Strength(parameter="bits", low=2, high=16, less_protects=True, nothing=32),),
    ),
    DefenceRow(
        make=Withhold,
        words="batch-norm statistics or chosen layers are not sent",
        source="Li et al. (FedBN), ICLR 2021, arXiv:2102.07623",
        random=False,
    ),
)
"""The table of defences, in the order of the help."""

DEFENCES: dict[str, type[Defence]] = {row.name: row.make for row in ROWS}
"""Classes by name."""


def row_of(name: str) -> DefenceRow | None:
    """The row of the defence called ``name``; None where it is none of ours.

    >>> row_of("top_k").strengths[0].parameter
    'fraction'
    """
    return next((row for row in ROWS if row.name == name), None)


def defence(text: str) -> Defence:
    """Build a defence from text: ``name`` or ``name:key=value,key=value``, joined by ``+``.

    >>> defence("withhold+percentile_gaussian:sigma0=10,scope=group").steps[1].sigma0
    10

    withholds first, then adds noise. How values are written: `medleak.filters.spec`.

    Raises:
        ValueError: Unknown name or parameter, a missing or malformed value.
    """
    steps = [build(step.name, step.args) for step in SpecChain.parse(text).steps]
    return steps[0] if len(steps) == 1 else Composition(steps)


def build(name: str, args: Mapping[str, Any]) -> Defence:
    """Build the defence that a record declares as ``{"name": …, "args": {…}}``.

    Raises:
        ValueError: Unknown name or parameter, a missing or wrong value.
    """
    if name == Composition.name:
        return Composition([build(**step) for step in args["steps"]])
    cls = DEFENCES.get(name)
    if cls is None:
        raise ValueError(f"Unknown defence {name!r}; known are {', '.join(sorted(DEFENCES))}.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(args) - set(fields))
    if unknown:
        raise ValueError(
            f"{name} has no parameter {unknown[0]!r}; it takes {', '.join(fields) or 'none'}."
        )
    needed = [n for n, f in fields.items() if _is_required(f) and n not in args]
    if needed:
        raise ValueError(f"{name} needs {needed[0]}, for example {name}:{needed[0]}=…")
    return cls(**args)


def declaration(used: Defence) -> dict[str, Any]:
    """What a record says about a defence: name and parameters, nothing that depends on data."""
    if isinstance(used, Composition):
        return {"name": used.name, "args": {"steps": [declaration(s) for s in used.steps]}}
    args = dataclasses.asdict(used)
    return {"name": used.name, "args": {k: _as_json(v) for k, v in args.items()}}


def spec_of(used: Defence) -> SpecChain:
    """The text of a defence as a record, every parameter written out; lists of nothing are not.

    >>> str(spec_of(defence("withhold+quantisation:bits=4")))
    'withhold:batch_norm=withhold_statistics+quantisation:bits=4,buffers=noise'
    """
    steps = used.steps if isinstance(used, Composition) else [used]
    return SpecChain(tuple(_spec(**declaration(step)) for step in steps))


def declared_text(declared: Iterable[Mapping[str, Any]]) -> str:
    """What a site declared, ``{"name", "args"}`` each, as text; nothing: the empty text.

    Of ours it is what ``--defence`` takes. What cannot be said that way is quoted as it is.
    """
    return " + ".join(map(_declared, declared))


def _declared(declared: Mapping[str, Any]) -> str:
    name, args = declared.get("name"), declared.get("args")
    if not isinstance(name, str) or not isinstance(args, Mapping):
        return json.dumps(dict(declared), sort_keys=True)  # not ours: quoted as it is
    try:
        text = (
            joined(_spec(**step) for step in args["steps"])
            if name == Composition.name
            else str(_spec(name, args))
        )
    except (ValueError, TypeError, KeyError):
        return json.dumps(dict(declared), sort_keys=True)
    # A site's own word ends up in terminals: no escape sequences.
    return text if text.isprintable() else json.dumps(text)


def _spec(name: str, args: Mapping[str, Any]) -> Spec:
    return Spec.of(name, {k: v for k, v in args.items() if not _is_nothing(v)})


def _is_nothing(value: Any) -> bool:
    return isinstance(value, list | tuple) and not value


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
