"""``medleak serve``: read reports in the browser of the same machine."""

import contextlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from medleak.inversion.cli.report import choose_originals
from medleak.inversion.cli.shared.errors import one_line_errors


@one_line_errors
def serve(
    ctx: typer.Context,
    audits: Annotated[
        Path, typer.Argument(metavar="AUDITS", help="An audit, or a folder that holds several.")
    ] = Path("workspace"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
    originals: Annotated[
        str, typer.Option(help="redacted, hidden or shown: as in medleak report.")
    ] = "redacted",
) -> None:
    """List audits and show their reports to this machine alone, read-only, until Ctrl+C.

    The address holds a random token: give it to nobody who may not see the audits.

    Examples: medleak serve  ·  medleak serve workspace --port 8765
    """
    from medleak.inversion.report import server
    from medleak.inversion.report.html.page import index, render
    from medleak.inversion.report.reading import read_audit
    from medleak.inversion.report.sound import as_written

    choice = choose_originals(originals, False) or "redacted"
    found = server.find_audits(audits)

    def listing(folders: Mapping[str, Path]) -> bytes:
        return index(folders, choice)

    def report(folder: Path) -> bytes:
        with as_written([folder]):
            return render([read_audit(folder)], originals=choice).html

    library = server.Library(
        audits={str(k): folder for k, folder in enumerate(found, start=1)},
        index=listing,
        report=report,
        token=secrets.token_urlsafe(32),
    )
    with server.serve(library, port) as running:
        address = f"http://{server.ADDRESS}:{running.server_address[1]}/{library.token}/"
        typer.echo(f"{len(found)} audits at {address} (Ctrl+C ends)")
        with contextlib.suppress(KeyboardInterrupt):
            running.serve_forever()
