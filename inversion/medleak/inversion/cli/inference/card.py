"""``medleak card``: would our configuration leak?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from medleak.inversion.cli.shared.errors import NOT_KNOWN, fail, one_line_errors
from medleak.inversion.cli.shared.grouped import grouped
from medleak.inversion.cli.shared.options import JobsOption, JsonOption, Machine, chosen_device
from medleak.inversion.cli.shared.output import printable


@one_line_errors
@grouped
def card(
    ctx: typer.Context,
    config: Annotated[Path, typer.Argument(help="Description of the federation, a YAML file.")],
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="New folder for card.md, card.json and what they rest on."
        ),
    ],
    jobs: JobsOption = 1,
    machine: Machine,
    as_json: JsonOption = False,
) -> None:
    """Say what a configuration would leak, from a short description and without any data.

    Simulates one round of the described clients on phantoms, inspects an update, rebuilds images
    from it, asks who was in it, and does so again under each defence and sum that is asked for.
    Past the description's minutes it begins nothing new, and says what it left out.
    Exit code 3 where the answer is not known.

    Examples: medleak card ours.yaml -o cards/ours
    · medleak card docs/cards/nvflare-tmi.yaml -o cards/tmi --jobs 2
    """
    import time

    import torch

    from medleak.custom.atomic import write_atomic
    from medleak.inversion.card.config import read_card
    from medleak.inversion.card.examine import examine
    from medleak.inversion.card.page import headline, page
    from medleak.inversion.card.simulate import simulate

    torch.set_num_threads(machine.threads)
    described = read_card(config)
    if out.exists() and any(out.iterdir()):
        raise ValueError(
            f"{out} is not empty, and a card mixes with nothing: choose another --out."
        )
    allowed = tuple(machine.allow_model or ())
    device = chosen_device(machine.device)
    # What others do on the machine changes no answer, where that can be had.
    clock = time.process_time if jobs == 1 and device == "cpu" else time.monotonic
    until = clock() + 60 * described.minutes
    typer.echo(f"At most about {described.minutes:g} minutes on an idle machine.", err=True)
    made = simulate(described, out / "simulation", allowed)
    found = examine(
        described,
        made,
        out / "audit",
        jobs=jobs,
        device=device,
        allowed_prefixes=allowed,
        clock=clock,
        until=until,
    )
    content = json.dumps(found.as_json(), indent=2)
    write_atomic(out / "card.json", content.encode())
    write_atomic(out / "card.md", page(found).encode())
    typer.echo(content if as_json else f"{printable(headline(found))}\n{out / 'card.md'}")
    if not found.known:
        fail("Whether this configuration leaks is not known; the card says why.", NOT_KNOWN)
