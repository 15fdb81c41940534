"""All checks of one model that was sent, against what this site has seen of the run so far."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medleak.filters.sentinel.checks import (
    asymmetry,
    channels,
    kernels,
    norms,
    rows,
    scales,
    spectra,
    step,
    structure,
    values,
)
from medleak.filters.sentinel.layers import State, layers_of
from medleak.filters.sentinel.memory import Memory, Profile
from medleak.filters.sentinel.result import Result

CHECKS = (
    *(structure.CHECK, values.CHECK, step.CHECK, rows.CHECK, kernels.CHECK, channels.CHECK),
    *(scales.CHECK, asymmetry.CHECK, norms.CHECK, spectra.CHECK),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The result of every check, and what is to be remembered if the model is let through."""

    results: Sequence[Result]
    profile: Profile

    @property
    def odd(self) -> list[Result]:
        """Checks that the model did not pass, the most striking first."""
        return sorted((r for r in self.results if r.status == "odd"), key=lambda r: -r.excess)

    @property
    def line(self) -> str:
        """What is odd, in one line; or what was looked at and what was not."""
        if self.odd:
            return "; ".join(f"{r.check}: {r.words}" for r in self.odd[:3])
        unknown = [r.check for r in self.results if r.status == "not examined"]
        fine = sum(r.status == "fine" for r in self.results)
        return f"{fine} checks are fine" + (f"; not examined: {', '.join(unknown)}" * bool(unknown))


def examine(
    state: State,
    memory: Memory,
    last: Callable[[str], np.ndarray] | None = None,
    *,
    round: int | None = None,
    approved: str | None = None,
    step_limit: float = step.LIMIT,
    rng: np.random.Generator | None = None,
) -> Examined:
    """Examine the model ``state`` that a server sent.

    Args:
        state: Name to array, buffers included.
        memory: Of this run.
        last: Gives an entry of the last model that was let through; None: there is none.
        round: Of the task; None: not known.
        approved: `checks.structure.fingerprint` of the network that the operator approved.
        step_limit: See `checks.step`.
        rng: Draws rows and sketches; fresh by default, so that a server cannot know them.

    Raises:
        ValueError: ``state`` holds no arrays, or arrays of a type that no check reads.
    """
    if not state or not all(isinstance(v, np.ndarray) for v in state.values()):
        raise ValueError("The task's model is no dictionary of arrays, so it cannot be examined.")
    strange = [n for n, v in state.items() if v.dtype.kind not in "fiub"]
    if strange:
        raise ValueError(
            f"{strange[0]:.80} is of {state[strange[0]].dtype}, in which no check can read it."
        )
    seen, largest = list(layers_of(state)), values.largest(state)
    shape = structure.check(state, approved, memory.structure)
    finite = all(np.isfinite(v) for v in largest.values())
    gap, moved = 1, None
    if round is not None and memory.last_round is not None:
        gap = max(round - memory.last_round, 1)
    if last is not None and finite and shape.status != "odd":
        moved = _steps(state, last)
    profile = Profile(
        sha256=digest(state),
        structure=structure.described(state),
        largest=largest,
        levels=norms.levels(state),
        ranks=spectra.ranks(seen),
        steps={n: size / gap for n, (size, _) in (moved or {}).items()},
    )
    again = memory.last_round is not None
    results = [shape, values.check(largest, memory.largest if again else None, memory.own)]
    if shape.status != "odd" and finite:
        earlier = memory.steps or None
        results.append(
            step.check(
                *(moved, memory.own),
                rounds=gap,
                limit=step_limit,
                earlier=earlier,
                weights=step.sizes(state) if moved is not None else None,
            )
        )
    if finite:
        results += [
            rows.check(seen, rng),
            kernels.check(seen),
            channels.check(seen, state, memory.made.get(channels.CHECK, 0.0)),
            scales.check(seen, state, memory.made.get(scales.CHECK, 0.0)),
            asymmetry.check(seen, rng),
            norms.check(state, profile.levels, memory.levels if again else None),
            spectra.check(profile.ranks, memory.ranks if again else None),
        ]
    return Examined(results=results, profile=profile)


def noted(memory: Memory, state: State, update: State) -> Memory:
    """``memory`` after the site sent ``update`` to the model ``state``.

    What the site's own training makes of the model belongs to what an honest one may look like.
    """
    local = {
        n: np.add(v, update[n], dtype=np.float32) if n in update else v for n, v in state.items()
    }
    made, reached = list(layers_of(local)), values.largest(local)
    reached |= {n: max(v, reached[n]) for n, v in values.pulled(state, update).items()}
    return memory.with_update(
        step.sizes(update),
        reached,
        norms.levels(local),
        spectra.ranks(made),
        {
            scales.CHECK: max(scales.extremes(made, local).values(), default=0.0),
            channels.CHECK: max(channels.shares(made, local).values(), default=0.0),
        },
    )


def digest(state: State) -> str:
    """SHA-256 of names, dtypes, shapes and values, whatever the order of names."""
    found = hashlib.sha256()
    for name, value in sorted(state.items()):
        found.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode())
        found.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _steps(state: State, last: Callable[[str], np.ndarray]) -> dict[str, tuple[float, int]]:
    found = {}
    for name, value in state.items():
        if value.dtype.kind == "f" and value.size:
            moved = np.subtract(value, last(name), dtype=np.float32)
            found[name] = (step.size(moved), moved.size)
    return found
