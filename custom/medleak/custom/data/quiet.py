"""Libraries that read image files, without what they say about a file's header."""

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(library: str) -> Iterator[None]:
    """Drop the warnings and log lines of ``library`` (a logger's name) while the block runs.

    Pillow logs every EXIF and TIFF value, at a level that an administrator of NVFlare can switch on
    at a site from afar; pydicom warns of bad values by quoting them.
    """
    logger = logging.getLogger(library)
    # Of its modules, too, however late they are imported: their lines pass by this logger.
    before, nowhere = logger.propagate, logging.NullHandler()
    logger.addHandler(nowhere)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.propagate = before
        logger.removeHandler(nowhere)
