"""config.json: all that decides an audit's figures, so that it can be repeated and gone on with."""

import dataclasses
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from medleak.custom.record import RecordError, list_updates, read_info, read_manifest, utc_now
from medleak.inversion.audit import journal
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.scope.sampling import not_examined
from medleak.inversion.evidence.declared_input import contradiction
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.assessment import Group
from medleak.inversion.membership.assessor import Assessor
from medleak.inversion.membership.lists import fingerprints
from medleak.inversion.observation import observe
from medleak.inversion.results.case import Case
from medleak.inversion.results.files import write_json
from medleak.inversion.results.summary import FORMAT_VERSION
from medleak.inversion.statement import complete, told

_PACKAGES = ("medleak", "torch", "numpy", "scipy", "monai", "pillow")


def begin(
    plan: Plan,
    cases: Sequence[Case],
    attacks: Mapping[str, Any],
    prior: Tensor,
    datalists: Mapping[str, Path | None],
    command: Sequence[str],
    assessor: Assessor | None = None,
) -> None:
    """Write config.json, or go on with the audit that it describes.

    A plan may add rounds, sites, attacks, defences, knowledge and seeds to the audit in its
    directory. What its rows depend on must be the same: records, prior, settings of the attacks.
    Where every case was refused there are no rows, and another plan takes the directory over.

    Raises:
        ValueError: The directory holds another audit, or is something else.
        OSError: The disk refuses the file.
    """
    updates = dict.fromkeys((case.round, case.site) for case in cases)
    recorded = list_updates(plan.records)
    seen = dict.fromkeys(update for case in cases for update in case.seen(recorded))
    said = _plain(told(plan.records, plan.given, seen))
    for update, why in _against_the_input(plan, seen).items():
        if update in said["updates"]:
            said["updates"][update]["contradictions"].append(why)
    config = {
        "format_version": FORMAT_VERSION,
        **_of_all_rows(plan, prior),
        # Who else was there: who could see what of this audit is of all, not of those audited.
        "recorded": {
            "sites": sorted({site for _, site in recorded}),
            "rounds": sorted({round for round, _ in recorded}),
        },
        "updates": {f"{r}/{s}": _hashes(plan, r, s) for r, s in updates},
        # Earlier rounds that an attack joins to one of these.
        "joined": {f"{r}/{s}": _hashes(plan, r, s) for r, s in seen if (r, s) not in updates},
        "run": said["run"],
        "said": said["updates"],
        "attacks": {spec: _plain(dataclasses.asdict(s)) for spec, s in attacks.items()},
        "knowledge": {k.describe(): dataclasses.asdict(k) for k in plan.knowledge},
        "truth": {
            site: None if path is None else str(path.resolve()) for site, path in datalists.items()
        },
        "defences": sorted({c.defence for c in cases}),
        "seeds": sorted({c.seed for c in cases}),
        **({} if assessor is None else {"membership": _asked(plan, assessor)}),
        **({} if plan.sample is None else {"sample": plan.sample.as_json(plan.drawn_from())}),
        "runs": [
            {
                "started": utc_now(),
                "command": list(command),
                "device": plan.device,
                "versions": _versions(),
            }
        ],
    }
    path = plan.out / "config.json"
    try:
        merged = _merged(_read(path), config, path)
        _merge_samples(merged, recorded)
    except _AnotherAudit:
        if not journal.is_empty(plan.out):
            raise
        journal.forget(plan.out)
        merged = config
    write_json(path, merged)


def require_its_own(plan: Plan, prior: Tensor) -> None:
    """Refuse at once, before anything is attacked or its cost told, a directory `begin` refuses.

    What takes reading of updates to see (their hashes, what is said of them) `begin` finds.

    Raises:
        ValueError: The directory holds an audit of another record, prior or measure, or is none.
    """
    path = plan.out / "config.json"
    if (old := _read(path)) is not None and not journal.is_empty(plan.out):
        _require_equal(old, _of_all_rows(plan, prior), path)


def _of_all_rows(plan: Plan, prior: Tensor) -> dict[str, Any]:
    """What each row of an audit depends on, so that all of them must share it."""
    return {
        "record": read_manifest(plan.records).identity(),
        "prior": {
            "source": plan.prior,
            "sha256": hashlib.sha256(prior.numpy().tobytes()).hexdigest(),
        },
        "measures": {"embedding": plan.embedding, "k": plan.neighbours}
        | ({} if plan.perceptual is None else {"lpips": plan.perceptual}),
    }


def _require_equal(old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
    for key in new:
        before, now = old.get(key), new[key]
        if key == "prior" and before is not None:
            # One file has as many paths as there are directories to call it from.
            now = {**now, "source": before["source"]}
        if before != now:
            raise _another(path, key, before, new[key])


def _against_the_input(plan: Plan, updates: Iterable[tuple[int, str]]) -> dict[str, str]:
    """What in each update contradicts the declared input.

    Where the network cannot be built or the update not be read, the attack will say so.
    """
    found = {}
    for round, site in updates:
        try:
            record = complete(plan.given.record(plan.records, round, site))
            seen = observe(record, Knowledge(), allowed_prefixes=plan.allowed_prefixes)
            why = contradiction(seen)
        except (RecordError, ValueError, RuntimeError):
            continue
        if why:
            found[f"{round}/{site}"] = why
    return found


def _merged(old: dict[str, Any] | None, new: dict[str, Any], path: Path) -> dict[str, Any]:
    if old is None:
        return new
    _require_equal(old, {key: new[key] for key in ("record", "prior", "measures", "run")}, path)
    merged = {**new, "prior": old["prior"]}
    for key in ("updates", "joined", "said", "attacks", "knowledge", "truth"):
        before = old.get(key, {})
        changed = [k for k in new[key] if before.get(k, new[key][k]) != new[key][k]]
        # An update that could not be read has no rows yet: it may have been restored since.
        changed = [k for k in changed if key not in ("updates", "joined") or before[k] is not None]
        if changed:
            k = changed[0]
            raise _another(path, f"{key} {k}", before[k], new[key][k])
        merged[key] = {**before, **new[key]}
    for key in ("defences", "seeds"):
        merged[key] = sorted({*old[key], *new[key]})
    if asked := _merged_question(old.get("membership"), new.get("membership"), path):
        merged["membership"] = asked
    if sample := _merged_sample(old.get("sample"), new.get("sample")):
        merged["sample"] = sample
    merged["runs"] = old["runs"]
    if {**old["runs"][-1], "started": ""} != {**new["runs"][0], "started": ""}:
        merged["runs"] = [*old["runs"], *new["runs"]]  # the same again is no news
    return merged


def _merged_sample(old: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any] | None:
    if old is None or new is None or old["strata"] == new["strata"]:
        return new or old
    out = {**old["not_examined"], **new["not_examined"]}
    return {**new, "strata": [], "not_examined": out}  # of two designs no bound is known


def _merge_samples(merged: dict[str, Any], recorded: Sequence[tuple[int, str]]) -> None:
    """Bring what a sample left out up to date with what other runs have looked at since."""
    if (sample := merged.get("sample")) is None:
        return
    seen = {(int(u.partition("/")[0]), u.partition("/")[2]) for u in merged["updates"]}
    out = set(sample["not_examined"])
    left = not_examined([u for u in recorded if u[1] in out], seen)
    merged["sample"] = {**sample, "not_examined": left}


class _AnotherAudit(ValueError):
    """The directory holds the audit of another plan."""


def _asked(plan: Plan, assessor: Assessor) -> dict[str, Any]:
    """Which images were asked about, told apart by their pixels, and by which scores."""
    return {
        "candidates": _images(assessor.candidates),
        "nonmembers": _images(assessor.nonmembers),
        "scores": sorted(plan.scores),
    }


def _images(group: Group | None) -> dict[str, Any] | None:
    if group is None:
        return None
    together = hashlib.sha256("".join(fingerprints(group.images)).encode()).hexdigest()
    return {"images": len(group), "patients": len(set(group.patients)), "sha256": together}


def _merged_question(
    old: dict[str, Any] | None, new: dict[str, Any] | None, path: Path
) -> dict[str, Any] | None:
    if old is None or new is None:
        return new or old
    for key in ("candidates", "nonmembers"):
        if old.get(key) != new[key]:
            raise _another(path, f"membership {key}", old.get(key), new[key])
    return new | {"scores": sorted({*old["scores"], *new["scores"]})}


def _another(path: Path, what: str, old: Any, new: Any) -> _AnotherAudit:
    return _AnotherAudit(
        f"{path.parent} holds another audit: its {what} is {json.dumps(old)}, now "
        f"{json.dumps(new)}. Figures of two audits must not be mixed: choose another --out, or "
        "repeat its command."
    )


def _read(path: Path) -> dict[str, Any] | None:
    folder = path.parent
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(
                f"{folder} exists and is no audit directory (it has no config.json): its files "
                "could be overwritten. Choose another --out."
            )
        return None
    try:
        config = json.loads(path.read_bytes())
        found = config["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}). Choose another --out.") from None
    if found != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {found!r}, this medleak writes {FORMAT_VERSION}: their "
            "definitions may differ. Choose another --out."
        )
    return config


def _hashes(plan: Plan, round: int, site: str) -> dict[str, str] | None:
    try:
        hashes = read_info(plan.records, round, site).sha256
    except RecordError:
        return None  # refused by name when its turn comes
    return None if hashes is None else hashes.model_dump(by_alias=True)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {p: version(p) for p in _PACKAGES}


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back, so that a stored and a new value compare equal."""
    return json.loads(json.dumps(settings, default=str))
