"""Libraries that read image files, without what they say about a file's header."""

import contextlib
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator

_LOCK = threading.Lock()
_INSIDE: Counter[str] = Counter()
_NOWHERE = logging.NullHandler()
_BEFORE: dict[str, bool] = {}
_WARNINGS = contextlib.ExitStack()


@contextlib.contextmanager
def quiet(library: str) -> Iterator[None]:
    """Drop the warnings and log lines of ``library`` (a logger's name) while the block runs.

    Pillow logs every EXIF and TIFF value, at a level that an administrator of NVFlare can switch on
    at a site from afar; pydicom warns of bad values by quoting them.

    Several threads may be inside: what they are quiet about comes back when the last one leaves.
    Warnings have one list for all threads, so that those of other libraries are dropped meanwhile.
    """
    _enter(library)
    try:
        yield
    finally:
        _leave(library)


def _enter(library: str) -> None:
    logger = logging.getLogger(library)
    with _LOCK:
        if not _INSIDE.total():
            _WARNINGS.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        if not _INSIDE[library]:
            # Of its modules, too, however late they are imported: their lines pass by this logger.
            _BEFORE[library] = logger.propagate
            logger.addHandler(_NOWHERE)
            logger.propagate = False
        _INSIDE[library] += 1


def _leave(library: str) -> None:
    logger = logging.getLogger(library)
    with _LOCK:
        _INSIDE[library] -= 1
        if not _INSIDE[library]:
            logger.propagate = _BEFORE.pop(library)
            logger.removeHandler(_NOWHERE)
        if not _INSIDE.total():
            _WARNINGS.close()
