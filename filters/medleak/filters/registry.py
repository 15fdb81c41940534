"""Defences by name, so that an audit replays the very functions that ran in the federation."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from medleak.filters.defences.clipped_gaussian import ClippedGaussian
from medleak.filters.defences.clipped_laplace import ClippedLaplace
from medleak.filters.defences.composition import Composition
from medleak.filters.defences.percentile_gaussian import PercentileGaussian
from medleak.filters.defences.perturbation import GaussianPerturbation, LaplacePerturbation
from medleak.filters.defences.quantisation import Quantisation
from medleak.filters.defences.random_k import RandomK
from medleak.filters.defences.sign import Sign
from medleak.filters.defences.top_k import TopK
from medleak.filters.defences.withholding import Withhold
from medleak.filters.noise import NoiseSource
from medleak.filters.update import Update, Value


class Defence(Protocol):
    """A frozen record of hyper-parameters that maps an update to a protected one."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """Protect ``update``; raise instead of returning anything unprotected."""
        ...


_CLASSES = (
    PercentileGaussian,
    GaussianPerturbation,
    LaplacePerturbation,
    ClippedGaussian,
    ClippedLaplace,
    TopK,
    RandomK,
    Sign,
    Quantisation,
    Withhold,
)
DEFENCES: dict[str, type[Defence]] = {cls.name: cls for cls in _CLASSES}


def defence(spec: str) -> Defence:
    """Build a defence from text: ``name`` or ``name:key=value,key=value``, joined by ``+``.

    Values are JSON where they can be (``10``, ``true``), else text; a list is joined by ``|``.
    ``"withhold+percentile_gaussian:sigma0=10,scope=group"`` withholds first, then adds noise.

    Raises:
        ValueError: Unknown name or parameter, a missing or malformed value.
    """
    steps = [_one(part) for part in spec.split("+")]
    return steps[0] if len(steps) == 1 else Composition(steps)


def _one(spec: str) -> Defence:
    name, _, rest = spec.partition(":")
    return build(name.strip(), dict(_argument(p, spec) for p in rest.split(",") if p.strip()))


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


def _argument(part: str, spec: str) -> tuple[str, Any]:
    key, equals, text = (t.strip() for t in part.partition("="))
    if not (key and equals and text):
        raise ValueError(f"{part.strip()!r} in {spec!r} is not of the form key=value.")
    if "|" in text:
        return key, [_plain(t.strip()) for t in text.split("|")]
    return key, _plain(text)


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
