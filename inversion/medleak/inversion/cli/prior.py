"""``medleak prior``: the mean of public images, for an attack to start from."""

import json
from pathlib import Path
from typing import Annotated

import typer

from medleak.inversion.cli.shared.errors import one_line_errors
from medleak.inversion.cli.shared.options import JsonOption


@one_line_errors
def prior(
    ctx: typer.Context,
    data: Annotated[
        Path,
        typer.Option(help="Public images: a folder of images, folders a class, or a datalist."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG to write.")],
    size: Annotated[int, typer.Option(min=7, max=4096, help="Height and width in px.")] = 224,
    channels: Annotated[int, typer.Option(help="1 for gray, 3 for colour.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Write the mean image of a public set as a PNG without metadata.

    Use images that no site trains on. An audit makes it smaller where its record's images are.

    Examples: medleak prior --data public/xrays -o prior.png
    · medleak prior --data fundus --channels 3 --size 64 -o prior.png
    """
    if channels not in (1, 3):
        raise ValueError(f"--channels is {channels}: images are gray (1) or colour (3).")
    from medleak.inversion.images.pictures import save_png, to_picture
    from medleak.inversion.images.prior import mean_image, public_items

    items = public_items(data)
    image = mean_image(items, (size, size), 1 if channels == 1 else 3)
    save_png(out, to_picture(image[0]))
    if as_json:
        content = {"prior": str(out), "images": len(items), "size": size, "channels": channels}
        typer.echo(json.dumps(content, indent=2))
    else:
        typer.echo(f"{out}: mean of {len(items)} images, {size} x {size} px, {channels} channel(s)")
