"""``medleak policy``: write and check what protects a site."""

import difflib
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medleak.inversion.cli.doctor import summary
from medleak.inversion.cli.shared.errors import FAILED, MISUSED, fail, one_line_errors
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from medleak.filters.doctor import Check
    from medleak.filters.policy import Choice


@one_line_errors
def policy(
    ctx: typer.Context,
    kit: Annotated[
        Path | None, typer.Argument(metavar="[KIT]", help="The site's NVFlare startup kit.")
    ] = None,
    site_dir: Annotated[
        Path | None, typer.Option(help="The same, as an option.", metavar="KIT")
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="Limit on ε over all rounds: clip, and add noise for it.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds that the limit is shared by.")] = None,
    delta: Annotated[float, typer.Option(help="δ: well below 1 / number of patients.")] = 1e-5,
    clip: Annotated[
        float | None,
        typer.Option(
            help="Of --epsilon: largest L2 norm of an update, near that of a usual one. Default: 1."
        ),
    ] = None,
    heuristic: Annotated[
        bool, typer.Option("--heuristic", help="Withhold statistics and add noise; ε: none.")
    ] = False,
    defence: Annotated[
        str | None, typer.Option(help="Another one, as in medleak audit --defence; ε not limited.")
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(help="A network that jobs may name beside ours; a prefix ends with a dot."),
    ] = None,
    sentinel: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="About a model that looks like a trap: refuse_round, refuse_run, warn; or off.",
        ),
    ] = "refuse_round",
    disclose_schedule: Annotated[
        bool,
        typer.Option(
            "--disclose-schedule",
            help="Under an ε, let the number of images and the settings of training leave exactly, "
            "outside of what ε covers: without them no server can record for an audit.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
) -> None:
    """Write privacy.json, resources.json, authorization.json and file modes of a site's kit.

    What would be written is tried first as medleak doctor does, and shown as a difference. Without
    --epsilon, --heuristic or --defence it asks. For a server's kit it writes the class allow-list
    and authorization.json only.

    Examples: medleak policy site-1 --epsilon 8 --rounds 30 --clip 1.5
    ·  medleak policy --site-dir site-1 --heuristic --yes
    """
    from medleak.filters import policy as policies

    where = _kit(kit, site_dir)
    server = policies.is_server(where)
    if server:
        _refuse_at_server(ctx)
    choice = _choice(epsilon, rounds, delta, clip, heuristic, defence, network or ())
    if sentinel not in ("refuse_round", "refuse_run", "warn", "off"):
        fail(f"--sentinel is refuse_round, refuse_run, warn or off; got {sentinel!r}.", MISUSED)
    watched = None if sentinel == "off" else sentinel
    choice = replace(choice, disclose_schedule=disclose_schedule, sentinel=watched)
    wanted = policies.files(where, choice)
    changes = list(policies.changed(where, wanted))
    for path, before, after in changes:
        _show(path, before, after)
    checks = _tried(where, wanted)
    for check in checks:
        if check.status != "ok":
            typer.echo(f"{check.status}: {printable(check.name)}: {printable(check.detail)}")
    failed = [c for c in checks if c.status == "failed" and c.name not in ("installation",)]
    if failed:
        fail(f"Nothing was written: {failed[0].name}: {failed[0].detail}", FAILED)
    if not yes and not typer.confirm("Write this?" if changes else "Nothing changes. Set modes?"):
        raise typer.Exit(FAILED)
    policies.write(where, wanted, choice)
    typer.echo(f"{len(changes)} files of {where} written. {summary(checks)}")
    if server:
        typer.echo("It protects no update: write each site's own, medleak policy SITE.")
    else:
        typer.echo(f"Check at any time: medleak doctor {shlex.quote(str(where))}")


def _refuse_at_server(ctx: typer.Context) -> None:
    """Options that a server's kit has no place for would be taken and ignored."""
    sources = {n: ctx.get_parameter_source(n) for n in ("network", "sentinel", "disclose_schedule")}
    given = {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    if "network" in given:
        fail(
            "A server takes networks from its environment alone, so --network would change "
            "nothing there: start it with MEDLEAK_NETWORKS=package., and give --network to the "
            "sites.",
            MISUSED,
        )
    if given:
        option = sorted(given)[0].replace("_", "-")
        fail(
            f"--{option} is of a site's filters, and a server's kit gets none: leave it out.",
            MISUSED,
        )


def _kit(kit: Path | None, site_dir: Path | None) -> Path:
    if (kit is None) == (site_dir is None):
        fail("Name one startup kit: medleak policy KIT, or --site-dir KIT.", MISUSED)
    return kit or site_dir or Path()


def _choice(
    epsilon: float | None,
    rounds: int | None,
    delta: float,
    clip: float | None,
    heuristic: bool,
    defence: str | None,
    networks: Iterable[str],
) -> "Choice":
    from medleak.filters import policy as policies

    given = [n for n, v in (("--epsilon", epsilon), ("--defence", defence)) if v is not None]
    given += ["--heuristic"] * heuristic
    if len(given) > 1:
        fail(f"{' and '.join(given)} are different policies: give one.", MISUSED)
    if not given:
        if not sys.stdin.isatty():
            fail("Say what to protect by: --epsilon 8 --rounds 30, or --heuristic.", MISUSED)
        heuristic = not typer.confirm("Bound what any attack can learn (ε), at a cost in accuracy?")
        if not heuristic:
            epsilon = typer.prompt("ε over all rounds", default=8.0, type=float)
    if epsilon is None:
        if rounds is not None:
            fail("--rounds shares a limit on ε: give --epsilon too.", MISUSED)
        if clip is not None:
            fail(
                "--clip bounds updates under a limit on ε: give --epsilon too, or write it into "
                "--defence as max_grad_norm.",
                MISUSED,
            )
        made = policies.Choice(defence=defence or policies.HEURISTIC, target_delta=delta)
        return replace(made, networks=tuple(networks))
    if rounds is None:
        if not sys.stdin.isatty():
            fail("--epsilon is shared by --rounds: give both.", MISUSED)
        rounds = int(typer.prompt("Rounds", default=30, type=int))
        clip = typer.prompt("Largest L2 norm of an update", default=clip or 1.0, type=float)
    made = policies.clipped(
        target_epsilon=epsilon,
        rounds=rounds,
        max_grad_norm=1.0 if clip is None else clip,
        target_delta=delta,
    )
    return replace(made, networks=tuple(networks))


def _show(path: Path, before: str, after: str) -> None:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{path} (now)", f"{path}", lineterm=""
    )
    for line in lines:
        typer.echo(printable(line))


def _tried(kit: Path, wanted: "dict[Path, str]") -> "list[Check]":
    """What the doctor says of a copy of the kit with the files in it."""
    from medleak.filters.doctor import SERVER, examine

    with tempfile.TemporaryDirectory(prefix="medleak_policy_") as folder:
        copy = Path(folder) / kit.resolve().name
        for name in ("startup", "local"):
            shutil.copytree(kit / name, copy / name)
        for path, text in wanted.items():
            (copy / path).write_text(text, encoding="utf-8")
        checks = examine(copy)
    return [c for c in checks if c.name != SERVER]
