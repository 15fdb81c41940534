"""The command's root: what all commands share, and where each is hung in."""

from typing import Annotated

import typer

from medleak.inversion.cli.audit import audit
from medleak.inversion.cli.calibrate import calibrate
from medleak.inversion.cli.data.lists import data
from medleak.inversion.cli.doctor import doctor
from medleak.inversion.cli.federation.attach import attach
from medleak.inversion.cli.federation.joining import join_records
from medleak.inversion.cli.federation.keeping import (
    budget_records,
    compress_records,
    prune_records,
)
from medleak.inversion.cli.federation.sentinel import sentinel
from medleak.inversion.cli.figures import figures
from medleak.inversion.cli.inference.attributes import attributes
from medleak.inversion.cli.inference.card import card
from medleak.inversion.cli.inference.dp_audit import dp_audit
from medleak.inversion.cli.inference.final_model import final_model
from medleak.inversion.cli.inference.membership import membership
from medleak.inversion.cli.inspect import inspect
from medleak.inversion.cli.ledger import ledger
from medleak.inversion.cli.policy import policy
from medleak.inversion.cli.prior import prior
from medleak.inversion.cli.records import records
from medleak.inversion.cli.report import report
from medleak.inversion.cli.reproduce import reproduce
from medleak.inversion.cli.serve import serve
from medleak.inversion.cli.shared.tables import WithTables

app = typer.Typer(
    help="Measure what federated medical-imaging training leaks, and audit it offline.",
    epilog="Records come from a job: nvflare simulator jobs/cxr_clean, then: medleak audit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(card)
app.command()(attach)
app.command(cls=WithTables)(audit)
app.command(cls=WithTables)(calibrate)
records.command("prune")(prune_records)
records.command("compress")(compress_records)
records.command("budget")(budget_records)
records.command("join")(join_records)
app.add_typer(records)
app.command(cls=WithTables)(inspect)
app.add_typer(data)
app.command()(prior)
app.command()(membership)
app.command()(attributes)
app.command("final-model")(final_model)
app.command("dp-audit")(dp_audit)
app.command()(ledger)
app.command()(policy)
app.command()(doctor)
app.command()(sentinel)
app.command()(figures)
app.command()(reproduce)
app.command()(report)
app.command()(serve)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"medleak {version('medleak')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Options before the name of a command; `errors` reads ``debug`` from here."""
