"""What a membership verdict looks like on a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.inversion.audit.run import Outcome


def tell_all(outcomes: "Sequence[Outcome]") -> None:
    """Those of an audit that ask who was in."""
    from medleak.inversion.results.case import NO_DEFENCE

    for outcome in outcomes:
        if outcome.answer is None:
            continue
        case = outcome.case
        when = f"rounds up to {case.round}" if case.averages else f"round {case.round}"
        under = "" if case.defence == NO_DEFENCE else f", with {case.defence}, seed {case.seed}"
        tell(f"{when}, {case.site}{under}", outcome.answer.summary)


def tell(name: str, summary: Mapping[str, Any]) -> None:
    """The verdict on one update and, where it is known who was in, the figures behind it.

    Args:
        name: Of the update.
        summary: See `medleak.inversion.membership.answer.Assessed.summary`.
    """
    typer.echo(f"{printable(name)}: {printable(str(summary['verdict']))}")
    if (told := summary["separation"]) is None:
        return
    figures = [_figure("AUC", told["auc"], 3)]
    for name, rate in (("tpr_1", "1 %"), ("tpr_01", "0.1 %")):
        fine = "" if told[name]["resolved"] else ", too few others to resolve that rate"
        figures.append(_figure(f"TPR at {rate} FPR", told[name], 2) + fine)
    figures += [_figure("null AUC", null["auc"], 3) for null in summary["nulls"]]
    typer.echo(f"  {'; '.join(figures)}")


def _figure(name: str, found: Mapping[str, float], digits: int) -> str:
    value, low, high = (f"{found[k]:.{digits}f}" for k in ("value", "lower95", "upper95"))
    return f"{name} {value} ({low} to {high})"
