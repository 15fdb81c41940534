"""Read an audit directory: everything but the images, and each piece as if a stranger wrote it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medleak.filters.privacy import ledger as ledgers
from medleak.inversion.measures.similarity import ASR_THRESHOLD
from medleak.inversion.report.attack_classes import canaries
from medleak.inversion.report.attack_classes.registry import FILES
from medleak.inversion.report.model import (
    MEMBERSHIP_METRICS,
    METRICS,
    Audit,
    Calibration,
    Figure,
    Group,
    Ledger,
    Membership,
)
from medleak.inversion.report.sound import as_written, read_json
from medleak.inversion.report.values import count, listing, mapping, number, roc, share, text
from medleak.inversion.results import verdict
from medleak.inversion.results.case import AVERAGE, MEMBERSHIP, NO_DEFENCE, Case
from medleak.inversion.results.files import contradictions_in, contradictions_of
from medleak.inversion.results.replays import is_null
from medleak.inversion.results.rows import Row, read_rows
from medleak.inversion.results.summary import DEFINITIONS, summarise

_KEY = ("site", "attack", "defence", "declared", "knowledge")
_LONGEST_LEDGER = 64 * 2**20


def read_audit(folder: Path, ledger: Sequence[Path] = ()) -> Audit:
    """Read the audit in ``folder``; what is missing is listed, not an error.

    Args:
        folder: An audit directory.
        ledger: Ledgers, sites' folders or workspaces to take ε from, beside those in ``folder``.

    Raises:
        ValueError: It is no audit directory, or a file in it is damaged.
    """
    if not (folder / "results.csv").is_file() and not (folder / "summary.json").is_file():
        raise ValueError(
            f"{str(folder)!r} is no audit directory: it has neither results.csv nor summary.json. "
            "Name the directory that `medleak audit` wrote."
        )
    with as_written([folder]):
        return _read(folder, ledger)


def _read(folder: Path, ledger: Sequence[Path]) -> Audit:
    rows = [row for row in read_rows(folder / "results.csv") if not is_null(row.defence)]
    found = read_json(folder / "summary.json")
    missing = [] if found is not None else ["summary.json: figures are computed anew, no intervals"]
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        missing.append("config.json: settings, versions, hashes and the command are not known")
        config = {}
    against = contradictions_in(config)
    summary = found if isinstance(found, dict) else summarise(rows, [], contradicted=against)
    calibration = read_json(folder / "calibration.json")
    utility = read_json(folder / "utility.json")
    health = summary.get("health")
    return Audit(
        folder=folder,
        job=text(mapping(config.get("record")).get("job")) or folder.resolve().name,
        rows=rows,
        groups=_groups(summary, rows, against),
        refused=[r for r in listing(summary.get("refused")) if _is_refusal(r)],
        health=health if isinstance(health, dict) else {},
        definitions=mapping(summary.get("definitions")) or DEFINITIONS,
        config=config,
        calibrations=_calibrations(calibration),
        utility=[u for u in listing(utility) if isinstance(u, dict)],
        ledgers=_ledgers([folder, *ledger]),
        missing=missing,
        left=_left(summary),
        settled=_settled(summary),
        not_drawn=_not_drawn(config),
        membership=[m for m in map(_membership, listing(summary.get("membership"))) if m],
        calibrations_of_membership=_calibrations(read_json(folder / "membership_calibration.json")),
        beside={name: _beside(folder / name, config) for name in (*FILES, canaries.FILE)},
    )


def _beside(path: Path, config: Mapping[str, Any]) -> Any:
    """What a file of a class of attack holds; of another run's, that it was not tested."""
    content, record = read_json(path), mapping(config.get("record"))
    whole = record and isinstance(config.get("updates"), Mapping)
    if not isinstance(content, dict) or (whole and content.get("record") == record):
        return content
    why = (
        f"{path.name} in the audit is not of the run that config.json names: make it anew of that "
        "run, or take it away"
    )
    return {"not_tested": [{"what": "", "why": why}]}


def _groups(
    summary: Mapping[str, Any], rows: Sequence[Row], against: Mapping[str, Sequence[str]]
) -> list[Group]:
    members: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = tuple(getattr(row, name) for name in _KEY)
        for round_ in (None, row.round):
            members.setdefault((*key, round_), []).append(row)
    listed = [g for g in listing(summary.get("sites")) if isinstance(g, dict) and g.get("site")]
    by_round = [g for g in listing(summary.get("rounds")) if isinstance(g, dict) and g.get("site")]
    if len({str(g.get("round")) for g in by_round}) > 1:  # of one round they say the same again
        listed += by_round
    return [_group(g, members, against) for g in listed]


def _group(
    raw: Mapping[str, Any],
    rows: Mapping[tuple[Any, ...], list[Row]],
    against: Mapping[str, Sequence[str]],
) -> Group:
    round_ = raw.get("round") if isinstance(raw.get("round"), int) else None
    key = {name: text(raw.get(name)) or NO_DEFENCE for name in _KEY}
    members = rows.get((*key.values(), round_), [])
    figures = {m: f for m in METRICS if (f := _figure(raw.get(m))).defined}
    ssim = [r.ssim for r in members if r.ssim is not None]
    if "asr" not in figures and ssim:
        share = sum(v >= ASR_THRESHOLD for v in ssim) / len(ssim)
        figures["asr"] = Figure(mean=share, n=len(ssim))
    figures = {m: _completed(f, m, members) for m, f in figures.items()}
    return Group(
        **key,
        round=round_,
        n=count(raw.get("n")) or len(members),
        seeds=count(raw.get("seeds")) or len({r.seed for r in members}) or 1,
        figures=figures,
        asr_sweep=_numbers(raw.get("asr_sweep")),
        nulls=_numbers(raw.get("nulls")),
        stuck=count(raw.get("stuck")),
        verdict=verdict.read({**raw, **key}),
        sentence=text(raw.get("verdict")),
        over=text(raw.get("over")),
        identification=_identification(raw),
        iip_p=number(mapping(raw.get("iip")).get("p")),
        contradicted=_contradicted(key["site"], round_, key["attack"], against),
    )


def _contradicted(
    site: str, round_: int | None, attack: str, against: Mapping[str, Sequence[str]]
) -> str:
    """The first contradiction of an update of ``site``: of any round, or of those of ``round_``."""
    if round_ is not None:
        whys = contradictions_of([Case(round_, site, attack, "", "", 0)], against)
    else:
        whys = [
            w for update, some in against.items() if update.partition("/")[2] == site for w in some
        ]
    return next(iter(whys), "")


def _identification(raw: Mapping[str, Any]) -> str:
    iip, embedding = mapping(raw.get("iip")), text(raw.get("embedding"))
    if not iip:
        return embedding or "not computed"
    parts = [
        f"{k} = {v:.3g}" for k in ("k", "gallery", "p") if (v := number(iip.get(k))) is not None
    ]
    chance = number(mapping(iip.get("null")).get("mean"))
    return "; ".join([*parts, *([] if chance is None else [f"by chance {chance:.3g}"]), embedding])


def _figure(raw: Any) -> Figure:
    if (mean := number(raw)) is not None:
        return Figure(mean=mean)
    raw = mapping(raw)
    values = {k: number(raw.get(k)) for k in ("mean", "lower95", "upper95", "min", "max")}
    return Figure(**values, n=count(raw.get("n")))


def _completed(figure: Figure, name: str, rows: Sequence[Row]) -> Figure:
    """With the number of images, which some summaries leave out where it is all of them."""
    if figure.n or not rows:
        return figure
    values = [v for r in rows if (v := getattr(r, name, None)) is not None]
    return Figure(
        mean=figure.mean,
        lower95=figure.lower95,
        upper95=figure.upper95,
        min=figure.min,
        max=figure.max,
        n=len(values) or len(rows),
    )


def _calibrations(raw: Any) -> list[Calibration]:
    """One a site; a site may hold one result or a list of them."""
    found = []
    for site, entries in mapping(raw).items():
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, dict) or "defence" not in entry:
                continue
            found.append(
                Calibration(
                    site=site,
                    defence=text(entry.get("defence")),
                    parameter=text(entry.get("parameter")),
                    strength=number(entry.get("strength")),
                    why=text(entry.get("why")),
                    privacy_json=entry.get("privacy_json"),
                    searched=[s for s in listing(entry.get("searched")) if isinstance(s, dict)],
                    utility=[u for u in listing(entry.get("utility")) if isinstance(u, dict)],
                )
            )
    return found


def _ledgers(places: Sequence[Path]) -> list[Ledger]:
    paths = dict.fromkeys(path for place in places for path in ledgers.find(place))
    if empty := [p for p in places[1:] if not p.exists() or not ledgers.find(p)]:
        raise ValueError(
            f"No privacy ledger at {str(empty[0])!r}: the report could not say what ε was spent. "
            "Name a ledger, a site's folder or a workspace; or leave the option out."
        )
    return [_ledger(path) for path in paths]


def _ledger(path: Path) -> Ledger:
    try:
        if path.stat().st_size > _LONGEST_LEDGER:
            raise ledgers.LedgerError(f"The ledger is larger than {_LONGEST_LEDGER} bytes.")
        verified = ledgers.read_copy(path)
        balances = ledgers.balances(verified.entries)
    except (ledgers.LedgerError, OSError, ValueError) as error:
        why = str(error).replace(str(path), path.name)
        return Ledger(place=path.name, releases=0, spent="not known", head="", error=why)
    spent = [
        f"ε = {b.epsilon:.4g} at δ = {b.delta:g} for a {b.unit} ({b.relation})"
        if b.epsilon is not None
        else f"ε: none for a {b.unit}, as a release had no such guarantee"
        for b in balances
    ]
    names = sorted({entry.spend.site for entry in verified.entries})
    return Ledger(
        place=", ".join(names) or path.name,
        releases=len(verified.entries),
        spent="; ".join(spent) or "ε: none (heuristic)",
        head=verified.head,
    )


def _left(summary: Mapping[str, Any]) -> Mapping[str, int]:
    sites = (mapping(case).get("site") for case in listing(summary.get("left")))
    return Counter("?" if site is None else text(site) for site in sites)


def _settled(summary: Mapping[str, Any]) -> Mapping[tuple[int, str], int]:
    found: Counter[tuple[int, str]] = Counter()
    for entry in listing(summary.get("settled")):
        case = mapping(mapping(entry).get("case"))
        round_, site = case.get("round"), case.get("site")
        if isinstance(round_, int) and isinstance(site, str):
            found[round_, site] += 1
    return found


def _not_drawn(config: Mapping[str, Any]) -> Mapping[str, int]:
    left = mapping(mapping(config.get("sample")).get("not_examined"))
    return {site: count(n) or 1 for site, n in left.items()}


def _membership(raw: Any) -> Membership | None:
    """One answer; None where it does not even say of which update it is."""
    raw = mapping(raw)
    site, round_, attack = raw.get("site"), raw.get("round"), text(raw.get("attack"))
    if not isinstance(site, str) or isinstance(round_, bool) or not isinstance(round_, int):
        return None
    asked = attack.removeprefix(AVERAGE).removeprefix(MEMBERSHIP)
    told, flaws = mapping(raw.get("separation")), raw.get("flaws")
    found = verdict.read({**raw, "attack": f"membership by {asked}"})
    return Membership(
        site=site,
        round=round_,
        score=asked,
        joined=attack.startswith(AVERAGE),
        defence=text(raw.get("defence")) or NO_DEFENCE,
        knowledge=text(raw.get("knowledge")),
        seed=count(raw.get("seed")),
        figures={k: share(told.get(k)) for k in MEMBERSHIP_METRICS},
        nulls=[share(mapping(n).get("auc")) for n in listing(raw.get("nulls"))],
        recognised=count(raw.get("recognised_patients")),
        candidates=count(raw.get("candidates")),
        kind=None if found is None else found.kind,
        sentence=text(raw.get("verdict")),
        flaws=[str(f) for f in flaws] if isinstance(flaws, list) else None,
        curve=roc(told),
    )


def _is_refusal(raw: Any) -> bool:
    return isinstance(raw, dict) and isinstance(raw.get("case"), dict) and "site" in raw["case"]


def _numbers(raw: Any) -> dict[str, float]:
    """Plain numbers by name; a figure with an interval counts with its mean."""
    pairs = ((str(k), _figure(v).mean) for k, v in mapping(raw).items())
    return {k: v for k, v in pairs if v is not None}
