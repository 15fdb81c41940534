"""``medleak report``: an audit as one HTML file, and a gate for CI."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medleak.filters.imports import uncollected
from medleak.inversion.cli.shared.errors import NOT_KNOWN, one_line_errors
from medleak.inversion.cli.shared.evidence import (
    PublicKeyOption,
    SignOption,
    VerifyOption,
    require_current,
    require_unsigned,
    signing_key,
    verify_and_tell,
    write_evidence,
)
from medleak.inversion.cli.shared.options import JsonOption
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.inversion.report.fail_if import Failure
    from medleak.inversion.report.html.frames import Originals
    from medleak.inversion.report.html.page import Report

LEAKS = NOT_KNOWN
"""Exit code where ``--fail-if`` holds or cannot be decided: a gate stays shut for either."""


@one_line_errors
def report(
    ctx: typer.Context,
    audit: Annotated[
        Path | None,
        typer.Argument(metavar="[AUDIT]", show_default=False, help="Directory of an audit."),
    ] = None,
    after: Annotated[
        Path | None,
        typer.Argument(
            metavar="[AFTER]", show_default=False, help="A second audit, under a defence."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File. Default: report.html in AUDIT.")
    ] = None,
    originals: Annotated[
        str | None,
        typer.Option(
            help="hidden: in the file, shown at a click. shown: at once. redacted: not in the "
            "file. Default: a question; redacted where nobody can answer."
        ),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="The same as --originals redacted.")
    ] = False,
    no_pictures: Annotated[
        bool,
        typer.Option(
            "--no-pictures", help="Leave out what was rebuilt, too: it shows the patient."
        ),
    ] = False,
    ledger: Annotated[
        list[Path] | None,
        typer.Option(help="Ledger, site's folder or workspace to take ε from; may be repeated."),
    ] = None,
    fail_if: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit code 3 if a site meets it or it is undefined, e.g. 'rdlv.upper95 > 0'; "
            "joined by and, or.",
        ),
    ] = None,
    repeat_by: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Day by which you want the audit repeated; in the report."
        ),
    ] = None,
    sign: SignOption = None,
    verify: VerifyOption = None,
    public_key: PublicKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make one self-contained HTML file of an audit: verdict, pictures, curves, annex.

    Two audits are compared, before and after a defence; verdict and --fail-if are of the second.
    Into AUDIT also goes evidence.json: the same for programs, with every file's hash, and by
    source what asks for it. --sign signs it; --verify says whether anything was changed since
    (exit code 1), or nothing is signed by a key that you named (3).
    Exit code 3, after writing the file, where of a site it is neither shown nor excluded that it
    leaks, an audit attacked nothing or not all of its updates, or two have nothing in common.

    Examples: medleak report AUDIT
    · medleak report AUDIT --redact -o report.html
    · medleak report before/ after/ --originals hidden
    · medleak report AUDIT --redact --fail-if "rdlv.upper95 > 0 or asr.mean > 0" --json
    · medleak report AUDIT --redact --sign key.pem
    · medleak report --verify AUDIT --public-key signer.pub
    """
    if verify is not None:
        others = (audit, out, originals, ledger, fail_if, repeat_by, sign)
        if redact or no_pictures or any(option is not None for option in others):
            raise ValueError(
                "--verify makes no report and judges none: give it with --public-key and --json "
                "alone."
            )
        verify_and_tell(verify, public_key or (), as_json)
    if public_key:
        raise ValueError("--public-key is whom --verify trusts: name what to verify as well.")
    if audit is None:
        raise ValueError("Name the directory of an audit, or what to --verify.")
    with uncollected():
        from medleak.custom.atomic import write_atomic
        from medleak.inversion.report.completeness import not_examined, undecided
        from medleak.inversion.report.fail_if import failures, parse
        from medleak.inversion.report.html.page import render
        from medleak.inversion.report.reading import read_audit
        from medleak.inversion.report.sound import as_written

    condition = None if fail_if is None else parse(fail_if)
    audits = [read_audit(folder, ledger or ()) for folder in (audit, after) if folder is not None]
    choice = _originals(originals, redact, ask=not as_json and not no_pictures)
    last = audits[-1]
    target = out or last.folder / "report.html"
    within = target.resolve().is_relative_to(last.folder.resolve())
    key = None if sign is None else signing_key(last.folder, sign)
    if key is not None:
        require_current(last.folder, target)
    elif within:
        require_unsigned(last.folder)
    with as_written([one.folder for one in audits]):
        made = render(
            audits,
            originals=choice,
            pictures=not no_pictures,
            repeat_by=None if repeat_by is None else repeat_by.date(),
        )
        failed = None if condition is None else failures(audits[-1], condition)
        missing = not_examined(audits)
    left_open = undecided(made.verdicts)
    write_atomic(target, made.html)
    evidence = None
    if within or key is not None:  # else nothing was asked of the audit's own directory
        with as_written([one.folder for one in audits]):
            evidence = write_evidence(last, made, target, key)
    if as_json:
        content = _content(target, choice, made, fail_if, failed)
        content |= {"not_examined": missing, "undecided": left_open}
        content["evidence"] = None if evidence is None else str(evidence)
        typer.echo(json.dumps(content, indent=2))
    else:
        _print(target, made)
        if evidence is not None:
            typer.echo(f"{evidence}{' (signed)' if sign else ''}")
    for failure in failed or ():
        typer.echo(f"medleak: {_words(failure)}", err=True)
    for sentence in (*missing, *left_open):
        typer.echo(f"medleak: not known: {printable(sentence)}.", err=True)
    if failed or missing or left_open:
        raise typer.Exit(LEAKS)


def choose_originals(given: str | None, redact: bool) -> "Originals | None":
    """What the options say, None if nothing.

    Raises:
        ValueError: An unknown choice, or two that contradict each other.
    """
    choices: dict[str, Originals] = {"hidden": "hidden", "shown": "shown", "redacted": "redacted"}
    if given is None:
        return "redacted" if redact else None
    found = choices.get(given)
    if found is None:
        raise ValueError(f"--originals {given!r} is unknown; choose {', '.join(choices)}.")
    if redact and found != "redacted":
        raise ValueError(f"--redact and --originals {given} contradict each other; give one.")
    return found


def _originals(given: str | None, redact: bool, *, ask: bool) -> "Originals":
    chosen = choose_originals(given, redact)
    if chosen is not None:
        return chosen
    if not ask or not (sys.stdin.isatty() and sys.stderr.isatty()):
        typer.echo(
            "medleak: the original images were left out, as nobody was asked; "
            "--originals hidden or shown puts them in.",
            err=True,
        )
        return "redacted"
    answer = typer.prompt(
        "Are the original images to go into the file? They may be patients'.\n"
        "  redacted: no; hidden: yes, shown at a click; shown: yes",
        default="redacted",
        err=True,
    )
    return choose_originals(answer.strip(), False) or "redacted"


def _print(target: Path, made: "Report") -> None:
    for verdict in made.verdicts:
        typer.echo(printable(f"{verdict.site}: {verdict.light.value}; {verdict.why}"))
    for note in made.notes:
        typer.echo(note)
    typer.echo(f"{target} ({len(made.html) / 1e6:.1f} MB)")


def _content(
    target: Path,
    originals: str,
    made: "Report",
    condition: str | None,
    failed: "list[Failure] | None",
) -> dict[str, Any]:
    import dataclasses

    content: dict[str, Any] = {
        "report": str(target),
        "bytes": len(made.html),
        "originals": originals,
        "sites": [{"site": v.site, "light": v.light.value, "why": v.why} for v in made.verdicts],
        "notes": list(made.notes),
    }
    if failed is not None:
        content["fail_if"] = {
            "condition": condition,
            "failed": bool(failed),
            "failures": [dataclasses.asdict(f) for f in failed],
        }
    return content


def _words(failure: "Failure") -> str:
    where = failure.site if failure.round is None else f"{failure.site}, round {failure.round}"
    under = f", {failure.defence} replayed" if failure.defence not in ("", "none") else ""
    return printable(f"{where}{under}: {failure.why}")
