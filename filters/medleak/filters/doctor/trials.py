"""The canary through every scope and task, and what a person must know of the outcome."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medleak.filters.doctor.canary import LITTLE, NOTHING, Canary, Left, compare, resnet18, small
from medleak.filters.doctor.check import Check, failed, ok, unknown, warning

if TYPE_CHECKING:
    from medleak.filters.adapters.examination.kit import Chain
    from medleak.filters.adapters.examination.trial import Outcome
    from medleak.filters.privacy.accounting import Guarantee

_STATISTICS_LEAK = {"statistics": " They leak images: withhold them, or use scope=group."}
NO_SUCH_TASK = "a_task_that_no_policy_names"
_ON_IMAGES = {"LeakageGate": "the leakage gate", "Rehearsal": "the rehearsal"}
_EPSILON_OF_NOTHING, _EPSILON_OF_LITTLE = 100.0, 20.0


def try_chain(chain: "Chain", tasks: Sequence[str]) -> list[Check]:
    """Send canaries through the filters of one scope, for each of ``tasks`` and for others.

    What a chain protects is looked at with a small update for every task, and once with one of the
    size of ResNet-18. Whole weights must leave protected as differences do, or not at all; every
    task that no filter names must be refused.
    """
    name = f"scope {chain.name!r}"
    little = small(statistics=not _trained_with_noise(chain))  # DP-SGD trains no batch norm
    protected = [t for t in tasks if t in protected_tasks(chain)]
    checks: list[Check] = []
    for task in protected or tasks:
        checks += _protected(name, chain, task, little)
    if protected and not any(c.status == "failed" for c in checks):
        checks += _large(name, chain, protected[0])
    for task in [NO_SUCH_TASK, *(t for t in tasks if t not in protected)] if protected else ():
        checks += _refused(name, chain, task, little)
    if protected:
        checks += _whole(name, chain, protected[0], little)
    return checks


def protected_tasks(chain: "Chain") -> set[str]:
    """Tasks that medleak's filters of a chain say they protect."""
    found: set[str] = set()
    for each in chain.results:
        named = getattr(each, "tasks", None)
        if _ours(each) and isinstance(named, list):
            found |= {str(t) for t in named}
    return found


def guarantees(chain: "Chain", task: str = "train") -> "Sequence[Guarantee | None] | None":
    """What a chain notes for the ledger; None if the canary does not leave."""
    canary = small(statistics=not _trained_with_noise(chain))
    outcome = _send(chain, canary, task)
    return None if outcome.refused else outcome.guarantees


def _protected(name: str, chain: "Chain", task: str, canary: Canary) -> Iterator[Check]:
    first, second = _send(chain, canary, task), _send(chain, canary, task)
    where = f"task {task!r}"
    if (untried := _untried(chain)) is not None:
        yield unknown(name, f"{where}: {untried}")
    if first.refused or second.refused:
        why = first.refused or second.refused
        when = "refused before training" if first.before_training else "withheld"
        detail = f"{where}: every update is {when}, so nothing leaves and no job will run: {why}"
        yield failed(name, detail)
        return
    if first.sent is None or second.sent is None:
        yield failed(name, f"{where}: {first.kind} left instead of a protected difference.")
        return
    extra = sorted(set(first.sent) - set(canary.update))
    if extra:
        yield failed(name, f"{where}: {extra[0]!r} left, which the update did not have.")
    try:
        left = compare(canary.update, first.sent, second.sent)
    except ValueError as e:
        yield failed(name, f"{where}: {e}")
        return
    yield from _judge(name, where, left, chain)
    yield from _judge_epsilon(name, where, first.guarantees, chain)


def _judge(name: str, where: str, left: Mapping[str, Left], chain: "Chain") -> Iterator[Check]:
    if not left:
        yield failed(name, f"{where}: nothing of the update is left; no job can learn from it.")
        return
    if _trained_with_noise(chain):
        detail = (
            f"{where}: leaves as it was trained; that training adds noise (DP-SGD) is what the "
            "script declares, and cannot be tried here."
        )
        yield unknown(name, detail)
        return
    bare = False
    for group, seen in left.items():
        if seen.changed < NOTHING or (group == "weights" and seen.equal > 0.5):
            bare |= group == "weights"
            detail = f"{where}: {group} leave bare: what left is {_degree(seen)} of the update."
            yield _bare(chain, group)(name, detail + _STATISTICS_LEAK.get(group, ""))
        elif seen.changed < LITTLE:
            detail = f"{where}: {group} leave almost as they are: what left is {_degree(seen)}"
            yield warning(name, detail + " of the update. Use scope=group, or more noise.")
    weights = left.get("weights")
    if weights is None:
        yield warning(name, f"{where}: no weight leaves, only statistics.")
    elif weights.repeats and math.isinf(weights.changed):
        yield failed(name, f"{where}: no noise is left and the update is all zero: see strengths.")
    elif (weights.repeats or weights.exact) and not bare:
        said = "the same update leaves the same, and what is sent is exact"
        said = said if weights.repeats else "which values are sent is drawn, and they are exact"
        detail = f"{where}: no noise: {said}. "
        yield warning(name, detail + "Compression or withholding alone hides nothing that is sent.")
    elif not bare:
        yield ok(name, f"{where}: a canary leaves with noise of {weights.changed:.3g} x its size")


def _judge_epsilon(
    name: str, where: str, noted: "Sequence[Guarantee | None]", chain: "Chain"
) -> Iterator[Check]:
    from medleak.filters.privacy import accounting

    deltas = [getattr(f, "target_delta", None) for f in chain.results]
    delta = next((d for d in deltas if d is not None), None)
    for guarantee in noted:
        if guarantee is None or _trained_with_noise(chain):
            continue
        try:
            epsilon = accounting.epsilon([guarantee.event], float(delta or 1e-5))
        except Exception as e:
            yield failed(name, f"{where}: ε of one release cannot be computed: {e}")
            continue
        said = f"{where}: one release alone costs ε = {epsilon:.3g} ({guarantee.unit}"
        said += f", {guarantee.relation}), which promises "
        if not epsilon <= _EPSILON_OF_NOTHING:
            yield failed(name, said + "nothing: raise the noise multiplier.")
        elif epsilon > _EPSILON_OF_LITTLE:
            yield warning(name, said + "little.")


def _large(name: str, chain: "Chain", task: str) -> Iterator[Check]:
    canary = resnet18(statistics=not _trained_with_noise(chain))
    outcome = _send(chain, canary, task)
    if outcome.refused or outcome.sent is None:
        yield failed(name, f"an update of the size of ResNet-18 is withheld: {outcome.refused}")
        return
    left = compare(canary.update, outcome.sent, {})
    for group, seen in left.items():
        if seen.changed < NOTHING and not _trained_with_noise(chain):
            detail = f"of ResNet-18, {group} leave bare ({_degree(seen)} of the update)."
            yield _bare(chain, group)(name, detail + _STATISTICS_LEAK.get(group, ""))
        elif seen.changed < LITTLE and not _trained_with_noise(chain):
            detail = f"of ResNet-18, {group} leave almost as they are: what left is "
            yield warning(name, f"{detail}{_degree(seen)} of the update. Use scope=group.")


def _bare(chain: "Chain", group: str) -> Callable[[str, str], Check]:
    """Weights must not leave bare, nor anything under an ε; of a heuristic a person decides."""
    claims = any(type(f).__name__ in ("ClippedGaussian", "ClippedLaplace") for f in chain.results)
    return failed if claims or group == "weights" else warning


def _refused(name: str, chain: "Chain", task: str, canary: Canary) -> Iterator[Check]:
    outcome = _send(chain, canary, task)
    if not outcome.refused:
        what = f"results of the task {task!r} leave past the filters"
        yield failed(name, f"{what} ({outcome.kind or 'something'} left).")
    elif not outcome.before_training and task == NO_SUCH_TASK:
        detail = (
            "a task that no filter names is refused only after it ran: list "
            "medleak.filters.adapters.WorkflowGuard in task_data_filters."
        )
        yield warning(name, detail)


def _whole(name: str, chain: "Chain", task: str, canary: Canary) -> Iterator[Check]:
    """Whole weights may leave as the server's model with the protected difference on top."""
    first, second = (_send(chain, canary, task, weights=True) for _ in range(2))
    if first.refused or second.refused:
        return
    where = f"whole weights of the task {task!r}"
    if first.sent is None or second.sent is None or first.kind != "WEIGHTS":
        yield failed(name, f"{where}: {first.kind or 'something'} left instead of protected ones.")
        return
    try:
        changes = [
            {n: np.asarray(v, np.float64) - canary.state[n] for n, v in each.items()}
            for each in (first.sent, second.sent)
        ]
        left = compare(canary.update, *changes)
    except (KeyError, TypeError, ValueError) as e:
        yield failed(name, f"{where}: what left is not the model's: {e}")
        return
    # What is said of differences need not be said again.
    yield from (c for c in _judge(name, where, left, chain) if c.status == "failed")


def _send(chain: "Chain", canary: Canary, task: str, *, weights: bool = False) -> "Outcome":
    from medleak.filters.adapters.examination.trial import attempt

    incoming, results = (
        [f for f in listed if type(f).__name__ not in _ON_IMAGES]
        for listed in (chain.data, chain.results)
    )
    meta: dict[str, Any] = {}
    if _trained_with_noise(chain):
        meta["dp_sgd"] = {"noise_multiplier": 10.0, "sample_rate": 0.01, "steps": 1}
    return attempt(
        incoming, results, canary.state, canary.update, task=task, meta=meta, weights=weights
    )


def _untried(chain: "Chain") -> str | None:
    names = {type(f).__name__ for f in (*chain.data, *chain.results)}
    left = [words for name, words in _ON_IMAGES.items() if name in names]
    if not left:
        return None
    return f"{' and '.join(left)} not tried: the site's images are needed."


def _trained_with_noise(chain: "Chain") -> bool:
    return any(type(f).__name__ == "DeclareDPSGD" for f in chain.results)


def _ours(each: object) -> bool:
    return type(each).__module__.startswith("medleak.filters.adapters")


def _degree(seen: Left) -> str:
    return f"{100 / math.sqrt(1 + seen.changed**2):.2f} %"
