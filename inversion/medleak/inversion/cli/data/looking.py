"""Decoding every image of a set, with a bar, and saying what came out odd or could not be read."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medleak.custom.data.datalist import Item
    from medleak.custom.data.pixels.sanity import Glance
    from medleak.custom.datasets.convert import Broken

SkipOption = Annotated[
    bool,
    typer.Option("--skip-broken", help="Leave broken images out, and say which, instead of stop."),
]
_NAMED = 10


def decode_all(items: Sequence["Item"], root: Path, broken: "Broken | None" = None) -> "list[Item]":
    """Decode every image and mask as a job would, and say what is odd about them.

    Args:
        items: Images and masks relative to ``root``, or absolute.
        root: Of them.
        broken: Takes those that cannot be used. None: the first one is raised.

    Returns:
        The items that can be used, in their order.

    Raises:
        DataError: The first one that cannot, or that none can.
    """
    from medleak.custom.data.data_error import DataError
    from medleak.custom.data.pixels.pool import in_order
    from medleak.custom.data.pixels.reading import read_image, read_mask
    from medleak.custom.data.pixels.sanity import glance

    def look(item: "Item") -> "Glance":
        if item.mask:
            read_mask(root / item.mask, root / item.image)
        return glance(read_image(root / item.image))

    kept: list[Item] = []
    glances: list[Glance] = []
    with progress(items, len(items), "Decoding") as bar, closing(in_order(look, items)) as looked:
        for item, seen in zip(bar, looked, strict=True):
            if not isinstance(seen, DataError):
                kept.append(item)
                glances.append(seen)
            elif broken is None:
                raise seen
            else:
                broken[root / item.image] = seen
    if items and not kept:
        raise DataError(
            f"All {len(items):,} images are broken: nothing is left to use. The first: "
            f"{next(iter((broken or {}).values()))}"
        )
    _say_odd(glances, [item.image for item in kept])
    return kept


def watch() -> "tuple[Callable[[str, NDArray[np.uint8]], None], Callable[[], None]]":
    """What `convert.write_pictures` calls for every picture, and what says the odd ones at last."""
    from medleak.custom.data.pixels.sanity import glance

    names: list[str] = []
    glances: list[Glance] = []

    def seen(name: str, pixels: "NDArray[np.uint8]") -> None:
        names.append(name)
        glances.append(glance(pixels))

    return seen, lambda: _say_odd(glances, names)


def left_out_if(skip_broken: bool, check: bool) -> "Broken | None":
    """What `decode_all` puts broken files into: nothing yet, or None where none is left out.

    Raises:
        ValueError: They are to be left out, and nothing is decoded.
    """
    if skip_broken and not check:
        raise ValueError(
            "--skip-broken and --no-check exclude each other: what is broken shows when it is "
            "decoded. Leave one of them out."
        )
    return {} if skip_broken else None


def say_broken(broken: "Broken | None") -> None:
    """Name on the error stream the files that were left out, and why; many are counted."""
    for error in list((broken or {}).values())[:_NAMED]:
        typer.echo(f"medleak: left out: {error}", err=True)
    if broken:
        more = f", {_NAMED} of them are named above" if len(broken) > _NAMED else ""
        typer.echo(f"medleak: {len(broken):,} broken images were left out{more}.", err=True)


@contextmanager
def progress(things: Iterable[Any], number: int, label: str) -> Iterator[Any]:
    """A bar on the error stream, and only where somebody looks.

    By a descriptor of its own: the stream is taken away while a decoder in C runs (`captured`).
    """
    seen = sys.stderr.isatty()
    with (
        open(os.dup(sys.stderr.fileno()), "w") if seen else nullcontext(sys.stderr) as file,
        typer.progressbar(things, length=number, label=label, file=file, hidden=not seen) as bar,
    ):
        yield bar


def _say_odd(glances: "Sequence[Glance]", names: Sequence[str]) -> None:
    from medleak.custom.data.pixels.sanity import oddities, remark

    line = remark(oddities(glances), names)
    if line:
        typer.echo(f"medleak: {line}", err=True)
