"""What commands show: bars while an audit runs, tables and verdicts at its end."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from medleak.inversion.audit.attacker import Task
    from medleak.inversion.audit.ladder import Rung
    from medleak.inversion.audit.plan import Plan
    from medleak.inversion.audit.run import Outcome
    from medleak.inversion.reconstruction import Progress, ProgressCallback


@contextmanager
def progress(
    total: int | None,
) -> "Iterator[tuple[Callable[[Task], ProgressCallback], Callable[[Outcome], None]]]":
    """Bars on the error stream: cases done with the time left, and each running attack.

    ``total`` None: nobody knows yet how many cases there will be.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        # Attacks differ in length: an average over the last few would jump.
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        cases = bars.add_task("cases", total=total, loss="")
        running: dict[Any, Any] = {}

        def watch(task: "Task") -> "ProgressCallback":
            easy = "" if hasattr(task, "seed") else ", easy case"
            name = f"{task.site}, round {task.round}{easy}"
            bar = running[task] = bars.add_task(name, total=None, loss="")

            def follow(state: "Progress") -> None:
                loss = f"loss {state.loss:.4f}"
                bars.update(bar, completed=state.iteration, total=state.total, loss=loss)
                if state.iteration >= state.total:
                    bars.update(bar, visible=False)

            return follow

        def finished(outcome: "Outcome") -> None:
            if (bar := running.pop(outcome.case, None)) is not None:
                bars.remove_task(bar)
            if outcome.kept:  # no work: it must not shorten the time that is said to be left
                left = bars.tasks[0].total
                bars.update(cases, total=None if left is None else left - 1)
            else:
                bars.advance(cases)

        yield watch, finished


def printable(text: str) -> str:
    """``text`` of a record, which may be a stranger's, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)


def print_summary(plan: "Plan") -> None:
    """summary.json of the plan's audit directory, and where that is."""
    summary = json.loads((plan.out / "summary.json").read_bytes())
    typer.echo(json.dumps({"out": str(plan.out), **summary}, indent=2))


def print_outcomes(plan: "Plan", outcomes: "Sequence[Outcome]", *, health: bool) -> None:
    """A line a case, a verdict a site, and whether the attacks were in working order."""
    from medleak.inversion.results.case import NO_DEFENCE

    lines = [_figures(outcome) for outcome in outcomes if outcome.rows]
    # A terminal has 80 columns: what is the same in all lines, and no result, is left out.
    same = ("attack", "knowledge", "defence", "seed", "n")
    dropped = {k for k in same if len({line[k] for line in lines}) == 1}
    dropped |= {"best"} if all(line["n"] == "1" for line in lines) else set()
    dropped |= {"note"} if not any(line["note"] for line in lines) else set()
    print_table([{k: v for k, v in line.items() if k not in dropped} for line in lines])
    summary = json.loads((plan.out / "summary.json").read_bytes())
    sites = {outcome.case.site for outcome in outcomes if outcome.case.score is None}
    for group in summary["sites"]:
        if group["site"] in sites:
            protections = (("sent under", group["declared"]), ("with", group["defence"]))
            under = "".join(f", {how} {what}" for how, what in protections if what != NO_DEFENCE)
            typer.echo(f"{group['site']}{under}: {group['verdict']}")
    _print_not_looked_at(plan, outcomes, summary)
    print_statement(plan, {(o.case.round, o.case.site) for o in outcomes})
    attackers = {(o.case.attack, o.case.knowledge) for o in outcomes if o.case.score is None}
    _print_health(summary["health"], attackers, health)
    typer.echo(f"Prior: {plan.prior}. Pictures, figures: {plan.out}")


def _print_not_looked_at(
    plan: "Plan", outcomes: "Sequence[Outcome]", summary: Mapping[str, Any]
) -> None:
    """What a sample, and a settled site, left out."""
    from medleak.inversion.audit.scope.sampling import clear_sites, in_words

    sample = json.loads((plan.out / "config.json").read_bytes()).get("sample")
    if sample is not None:
        said = in_words(sample, clear_sites(summary))
        typer.echo("".join(f"{text[0].upper()}{text[1:]}.\n" for text in said), nl=False)
        if sample["not_examined"]:
            typer.echo("Of what was not looked at nothing is known.")
    settled = [o for o in outcomes if o.settled]
    if settled:
        sites = len({o.case.site for o in settled})
        typer.echo(
            f"{len(settled)} cases of {sites} sites were left out, as it was settled that they "
            "leak: what else came from them is not known."
        )


def print_statement(plan: "Plan", updates: "set[tuple[int, str]]") -> None:
    """What the site did not say itself and who did; and where the update contradicts it."""
    config = json.loads((plan.out / "config.json").read_bytes())
    lines: dict[str, list[str]] = {}
    for update in (f"{round}/{site}" for round, site in sorted(updates)):
        said = config["said"].get(update, {})
        words = [
            f"{field} {'not known' if v['value'] is None else v['value']} ({v['source']})"
            for field, v in said.get("schedule", {}).items()
            if v["source"] != "declared" and (v["source"] != "unknown" or field in _TOLD)
        ]
        if words:
            lines.setdefault(f"Not the site's word: {', '.join(words)}.", []).append(update)
        for why in said.get("contradictions", ()):
            lines.setdefault(f"The update contradicts what was said: {why}.", []).append(update)
    for line, found in lines.items():
        places = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        typer.echo(f"{places}: {printable(line)}")


_TOLD = ("n_images", "n_steps", "batch_size", "lr", "optimizer")  # even where they are not known


def _print_health(found: Mapping[str, Any], asked: "set[tuple[str, str]]", wanted: bool) -> None:
    for attack, knowledge in sorted(asked):
        health = found.get(f"{attack}|{knowledge}")
        what = f"Easy case of {attack} knowing {knowledge}:"
        if health is None:
            why = "not recorded" if wanted else "not run (--no-health)"
            typer.echo(f"{what} {why}; a failure of this attack is no sign of safety.")
        elif health["contradiction"]:
            typer.echo(f"{what} proves nothing, as it shares an error: {health['contradiction']}.")
        elif not health["reached"]:
            why = health["why"] or f"SSIM {health['ssim']:.2f}, prior {health['ssim_prior']:.2f}"
            typer.echo(f"{what} not inverted ({why}); its failures here say nothing.")


def print_ladder(
    outcomes: "Sequence[Outcome]", ladder: "Sequence[Rung]", *, one_at_a_time: bool
) -> None:
    """What is left of the leak on each rung."""
    from medleak.inversion.audit.ladder import leak_by_rung

    rows = [row for outcome in outcomes for row in outcome.rows]
    found = leak_by_rung(rows, ladder, one_at_a_time=one_at_a_time)
    lines = [
        {
            "site": left.site,
            "attack": left.attack,
            "defence": left.defence,
            "given up": left.rung,
            "n": str(left.n),
            "SSIM": _number(left.ssim),
            "fall": _number(left.fall),
            "RDLV": _number(left.rdlv),
        }
        for left in found
    ]
    dropped = {k for k in ("site", "attack", "defence") if len({line[k] for line in lines}) == 1}
    how = "each thing alone" if one_at_a_time else "and all that stands above it"
    typer.echo(f"Knowledge given up, {how}:")
    print_table([{k: v for k, v in line.items() if k not in dropped} for line in lines])


def print_table(lines: Sequence[Mapping[str, str]]) -> None:
    """A table with the keys of the first line as its heading; nothing for no lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not lines:
        return
    table = Table(*lines[0])
    for line in lines:
        table.add_row(*map(Text, line.values()))
    Console().print(table)


def _figures(outcome: "Outcome") -> dict[str, str]:
    """One line of the table."""
    rows, case = outcome.rows, outcome.case
    ssim = [r.ssim for r in rows]
    seen = {r.transformation for r in rows if r.transformation is not None}
    notes = ("stuck" if rows[0].stuck else "", "kept" if outcome.kept else "", _seen(seen))
    return {
        "round": str(case.round),
        "site": case.site,
        "attack": case.attack,
        "knowledge": case.knowledge,
        "defence": case.defence,
        "seed": str(case.seed),
        "n": str(len(rows)),
        "SSIM": _mean(ssim),
        "best": _mean([max((v for v in ssim if v is not None), default=None)]),
        "prior": _mean([r.ssim_prior for r in rows]),
        "RDLV": _mean([r.rdlv for r in rows]),
        "CPU s": f"{rows[0].seconds:.1f}",
        "note": " ".join(filter(None, notes)),
    }


def _seen(transformations: "set[str]") -> str:
    """How the network saw what came back, where it did not see it as listed."""
    (words,) = transformations if len(transformations) == 1 else ("transformed",)
    return words if transformations else ""


def _mean(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return _number(sum(known) / len(known) if known else None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
