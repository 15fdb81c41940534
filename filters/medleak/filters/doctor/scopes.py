"""A site's ``privacy.json``: is each scope complete, and do its parts agree with each other?"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medleak.filters.doctor.check import Check, failed, ok, unknown, warning
from medleak.filters.doctor.trials import guarantees, try_chain
from medleak.filters.privacy import ledger
from medleak.filters.registry import ROWS

if TYPE_CHECKING:
    from medleak.filters.adapters.examination.kit import Chain, Policy

_PACKAGE = "medleak.filters.adapters."
_MECHANISMS = {"ClippedGaussian", "ClippedLaplace", "DeclareDPSGD"}
_PROTECTING = {row.make.__name__ for row in ROWS} | {"DeclareDPSGD", "Guard", "LeakageGate"}
_DELTA_OF_LITTLE, _DELTA_OF_NOTHING = 1e-3, 1e-2


def site_policy(
    kit: Path, tasks: Sequence[str] = ("train",)
) -> "tuple[Policy | None, list[Check]]":
    """The policy as NVFlare loads it, and what is to be said of it.

    ``tasks`` are those of the job that is looked at; each is tried in each scope.
    """
    path = kit / "local" / "privacy.json"
    if not path.is_file():
        detail = "local/privacy.json is missing: only what the job brings protects this site."
        return None, [failed("site policy", detail)]
    from medleak.filters.adapters.examination import kit as kits

    try:
        policy = kits.load_policy(kit)
    except kits.NotReadable as e:
        return None, [failed("site policy", f"{e}. No job will start here.")]
    if not policy.chains:
        detail = "local/privacy.json has no scopes, so NVFlare takes it for no policy at all."
        return policy, [failed("site policy", detail)]
    checks = [ok("site policy", f"local/privacy.json, default scope {policy.default!r}")]
    if policy.default is None:
        names = [c.name for c in policy.chains]
        detail = f"default_scope is not one of {names}: a job that names no scope sends bare."
        checks = [failed("site policy", detail)]
    checks += _left_out(policy)
    for chain in policy.chains:
        checks += scope_checks(chain, kit, tasks)
    checks += _one_ledger(policy.chains)
    return policy, checks


def scope_checks(chain: "Chain", kit: Path, tasks: Sequence[str] = ("train",)) -> list[Check]:
    """One scope of ``privacy.json``: a job chooses among them, so each must protect by itself."""
    name = f"scope {chain.name!r}"
    if not any(_name(f) in _PROTECTING for f in chain.results):
        detail = "no medleak filter in task_result_filters: a job that names this scope sends bare."
        return [failed(name, detail)]
    said = ", then ".join(_name(f) or f"{type(f).__name__} (not ours)" for f in chain.results)
    checks = [ok(name, f"results pass {said}")]
    checks += _data_filters(name, chain)
    checks += _arguments(name, chain)
    checks += _accounts(name, chain, kit)
    try:
        checks += try_chain(chain, tasks)
    except Exception as e:
        checks.append(unknown(name, f"the filters could not be tried: {type(e).__name__}: {e}"))
    return checks


def _left_out(policy: "Policy") -> Iterator[Check]:
    """Entries that are in the file and that NVFlare does not run on the way that counts."""
    ways = {"task_data_filters": ("in", "inout"), "task_result_filters": ("out", "inout")}
    for scope in _mappings(policy.entries.get("scopes")):
        for key, directions in ways.items():
            for entry in _mappings(scope.get(key)):
                name = str(entry.get("path") or entry.get("class_path") or entry.get("name"))
                direction = str(entry.get("direction") or directions[0]).lower()
                where = f"scope {scope.get('name')!r}"
                if entry.get("disabled") is True:
                    detail = f'{name} in {key} has "disabled": true, so it does not run.'
                    yield failed(where, detail + " Remove the key, or the entry.")
                elif direction not in directions:
                    detail = f'{name} in {key} has "direction": "{direction}", so it does not run '
                    yield failed(where, detail + "on the way that counts. Remove the key.")


def _data_filters(name: str, chain: "Chain") -> Iterator[Check]:
    names = [_name(f) for f in chain.data]
    if "GlobalModel" not in names:
        detail = f"{_PACKAGE}GlobalModel is missing in task_data_filters: every update is refused."
        yield failed(name, detail)
    if "WorkflowGuard" not in names:
        detail = (
            f"{_PACKAGE}WorkflowGuard is missing in task_data_filters: workflows that send by "
            "another way than a task's result (swarm, cyclic, events) are not refused."
        )
        yield warning(name, detail)
    yield from _sentinel(name, chain)
    for guard in chain.data:
        if getattr(guard, "allow_code", False):
            detail = "WorkflowGuard lets jobs bring code, which can send by ways of its own."
            yield warning(name, detail)


def _sentinel(name: str, chain: "Chain") -> Iterator[Check]:
    """Is the model that comes in looked at as the server sent it, and with what consequence?"""
    looking = [f for f in chain.data if _name(f) in ("Sentinel", "Rehearsal")]
    for each in looking:
        if getattr(each, "on_alarm", None) == "warn":
            detail = f"{_name(each)} only warns: a model that looks like a trap is trained all the "
            yield warning(name, detail + "same.")
    names = [_name(f) for f in chain.data]
    if "RestoreWithheld" in names:
        for each in chain.data[names.index("RestoreWithheld") :]:
            if each in looking:
                detail = f"{_name(each)} stands after RestoreWithheld: it would look at what this "
                detail += "site puts in, not at what the server sent. Put it before."
                yield failed(name, detail)
    if "Sentinel" not in names:
        detail = f"{_PACKAGE}Sentinel is missing in task_data_filters: a model that the server "
        yield warning(name, detail + "changed to make updates tell of single images is trained.")
    elif "SentinelNotes" not in [_name(f) for f in chain.results]:
        detail = f"{_PACKAGE}SentinelNotes is missing in task_result_filters: how far the model "
        yield warning(name, detail + "may move from round to round is not known to Sentinel.")


def _arguments(name: str, chain: "Chain") -> Iterator[Check]:
    for each in chain.results:
        kind = _name(each) or type(each).__name__
        if getattr(each, "seed", None) is not None:
            yield failed(name, f"{kind} has a seed: its noise can be subtracted. Remove the seed.")
        if getattr(each, "buffers", None) == "pass":
            detail = f'{kind} sends batch-norm statistics bare (buffers="pass"), which leak images.'
            yield failed(name, detail)
        if getattr(each, "metrics", None) == "pass" and kind in _MECHANISMS:
            detail = f'{kind} sends metrics without noise (metrics="pass"), outside of ε.'
            yield warning(name, detail)


def _accounts(name: str, chain: "Chain", kit: Path) -> Iterator[Check]:
    # Notes of the site's own are no news to the server: they may follow.
    known = [n for f in chain.results if (n := _name(f)) and n != "SentinelNotes"]
    books = [f for f in chain.results if _name(f) == "PrivacyLedger"]
    budgets = [f for f in chain.data if _name(f) == "PrivacyBudget"]
    if _MECHANISMS & set(known):
        if not books:
            yield warning(name, f"no {_PACKAGE}PrivacyLedger: ε is not counted over rounds.")
        elif known[-1] != "PrivacyLedger":
            detail = f"PrivacyLedger stands before {known[-1]}: put it last, to see what leaves."
            yield failed(name, detail)
    if len(books) > 1:
        yield failed(name, "more than one PrivacyLedger: each release is counted in one only.")
    for each in (*books, *budgets):
        yield from _delta(name, each)
    for each in {_path(f): f for f in (*books, *budgets)}.values():
        yield _ledger_check(name, kit / _path(each))
    if books and (_MECHANISMS & set(known)):
        yield from _limits(name, books[0], budgets, kit)
    for budget in budgets:
        yield from _agrees(name, chain, budget, books)


def _delta(name: str, each: Any) -> Iterator[Check]:
    delta, kind = float(each.target_delta), _name(each)
    if delta >= _DELTA_OF_NOTHING:
        detail = f"{kind} has target_delta = {delta:g}: a failure so likely promises nothing. "
        yield failed(name, detail + "Take less than 1 / number of patients.")
    elif delta > _DELTA_OF_LITTLE:
        detail = f"{kind} has target_delta = {delta:g}, which is a probability of failure: "
        yield warning(name, detail + "take less than 1 / number of patients.")


def _limits(name: str, book: Any, budgets: Sequence[Any], kit: Path) -> Iterator[Check]:
    targets = [b.target_epsilon for b in budgets]
    if book.target_epsilon is None:
        where = "only the budget" if targets else "nothing"
        detail = f"PrivacyLedger has no target_epsilon: {where} limits ε over all rounds."
        yield warning(name, detail)
    elif not targets:
        detail = "no PrivacyBudget in task_data_filters: a round over the budget is trained first."
        yield warning(name, detail)
    limit = min((t for t in (book.target_epsilon, *targets) if t is not None), default=None)
    if limit is None or not limit > 20:
        return
    detail = f"ε may grow to {limit:g}, which promises little; 1 to 10 are usual."
    yield (failed if math.isinf(limit) or limit > 100 else warning)(name, detail)


def _agrees(name: str, chain: "Chain", budget: Any, books: Sequence[Any]) -> Iterator[Check]:
    from medleak.filters.adapters.ledger import planned_guarantee

    for book in books:
        if os.path.normpath(_path(book)) != os.path.normpath(_path(budget)):
            detail = f"PrivacyBudget asks {_path(budget)}, PrivacyLedger writes {_path(book)}: "
            yield failed(name, detail + "the budget is never spent. Give both one file.")
        if book.target_delta != budget.target_delta or (
            book.target_epsilon not in (None, budget.target_epsilon)
        ):
            detail = "PrivacyBudget and PrivacyLedger have different target_epsilon or target_delta"
            yield failed(name, f"{detail}: give both the same.")
    if not books:
        yield failed(name, "PrivacyBudget without PrivacyLedger: the budget is never spent.")
    if "DeclareDPSGD" in [_name(f) for f in chain.results]:
        detail = f"planned={budget.planned!r} is what a training script must do; not tried here."
        yield unknown(name, detail)
        return
    noted = guarantees(chain)
    # A plan is about the mechanism: what a site discloses beside it costs no ε.
    planned = replace(planned_guarantee(budget.planned), beside=())
    if noted is not None and planned not in [g and replace(g, beside=()) for g in noted]:
        detail = f"PrivacyBudget plans {budget.planned!r}, which is not what the result filters do."
        yield failed(name, detail + " Make planned and the filters agree.")


def _one_ledger(chains: Sequence["Chain"]) -> Iterator[Check]:
    paths = {
        os.path.normpath(_path(f))
        for c in chains
        for f in (*c.data, *c.results)
        if _name(f) in ("PrivacyLedger", "PrivacyBudget")
    }
    if len(paths) > 1:
        detail = f"scopes count on different ledgers ({', '.join(sorted(paths))}): a job that "
        yield failed("ledger", detail + "changes its scope spends the budget once for each.")


def _ledger_check(scope: str, path: Path) -> Check:
    try:
        known = ledger.read(path)
    except (ledger.LedgerError, OSError) as e:
        return failed(scope, str(e))
    folder = path if path.exists() else next(p for p in path.parents if p.exists())
    if not os.access(folder, os.W_OK):
        return failed(scope, f"the ledger {path} cannot be written, so no update will leave.")
    return ok(scope, f"ledger {path.name}: {len(known.entries)} entries, intact and writable")


def _path(each: Any) -> str:
    return str(each.path)


def _name(each: object) -> str | None:
    """The class's name if it is one of ours, by module and not by what a job called it."""
    cls = type(each)
    return cls.__name__ if cls.__module__.startswith("medleak.filters.adapters") else None


def _mappings(found: object) -> list[Mapping[str, Any]]:
    return [f for f in found if isinstance(f, Mapping)] if isinstance(found, list) else []
