"""From the file of an image or a mask to pixels, for every command and every job."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medleak.custom.data.data_error import DataError
from medleak.custom.data.image_files import is_tiff, open_image
from medleak.custom.data.images import check_window
from medleak.custom.data.pixels.raster import read_raster
from medleak.custom.data.pixels.rule import Window, shown, structure
from medleak.custom.data.pixels.samples import Samples, UnreadableError, upright
from medleak.custom.data.pixels.tiff import read_tiff
from medleak.custom.data.quiet import quiet


def read_image(path: str | Path, window: Window | None = None) -> NDArray[np.uint8]:
    """What a viewer shows of the image in ``path``: uint8 [H, W] gray or [H, W, 3] RGB, upright.

    Raises:
        DataError: It is missing, not an image, damaged, several images in one file, too large, or
            its black and white are unknown (see `rule.shown`).
        ValueError: ``window`` is empty.
    """
    if window is not None:
        check_window(*window)
    with _named(path):
        return shown(_samples(path), window)


def read_mask(path: str | Path, image: str | Path) -> NDArray[np.bool_]:
    """The structure in the mask ``path`` of ``image``, bool [H, W], turned like the image.

    A mask was drawn on the pixels as they are stored, or as a viewer turns them. Sizes tell which,
    or the mask's own orientation where it is the image's.

    Raises:
        DataError: As of `read_image`; their sizes differ, or cannot tell how the mask lies.
    """
    with _named(path):
        mask = _samples(path)
        found = structure(mask)
    with _named(image):
        pictured = _samples(image)
    width, height = pictured.upright_size
    turned = [upright(found, turn) for turn in {mask.orientation, pictured.orientation}]
    fitting = [candidate for candidate in turned if candidate.shape == (height, width)]
    if fitting and all(np.array_equal(candidate, fitting[0]) for candidate in fitting):
        return np.ascontiguousarray(fitting[0])
    if not fitting:
        raise DataError(
            f"Mask {str(path)!r} is {_extent(mask)}, its image {_extent(pictured)}: which pixel "
            "belongs to which is unknown. Export both at the same size."
        )
    raise DataError(
        f"Mask {str(path)!r} is {_extent(mask)} in orientation {mask.orientation}, its image "
        f"{_extent(pictured)} in orientation {pictured.orientation}: whether the mask was drawn on "
        "the turned or on the stored pixels is unknown. Export both without an orientation."
    )


def _samples(path: str | Path) -> Samples:
    if is_tiff(path):
        with quiet("tifffile"), quiet("PIL"):
            return read_tiff(Path(path))
    image = open_image(path)
    with quiet("PIL"):
        return read_raster(image, Path(path))


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Whatever a decoder raises, as a DataError that names the file and quotes no header."""
    try:
        yield
    except DataError:
        raise
    except UnreadableError as error:
        raise DataError(f"Image {str(path)!r} {error}") from None
    except Exception as error:  # damaged files make parsers raise nearly anything
        raise DataError(
            f"Image {str(path)!r} is damaged ({type(error).__name__}): it cannot be trained on. "
            "Mend, replace or remove it."
        ) from None


def _extent(samples: Samples) -> str:
    return f"{samples.size[0]} x {samples.size[1]} px"
