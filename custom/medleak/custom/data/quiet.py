"""Libraries that read image files, without what they say about a file's header."""

import contextlib
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Iterator

_LOCK = threading.Lock()
_INSIDE: Counter[str] = Counter()
_NOWHERE = logging.NullHandler()
_BEFORE: dict[str, bool] = {}
_WARNINGS = contextlib.ExitStack()
_ERROR_STREAM = 2
_ALONE = threading.Lock()


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


@contextlib.contextmanager
def captured() -> Iterator[bytearray]:
    """Take what libraries in C write to the error stream while the block runs.

    gdcm, openjpeg and libtiff print what they think of a file, which Python cannot forbid them;
    among a command's own lines it would name no file. Filled when the block is left.

    The process has one error stream: one thread at a time may be inside (these decoders keep
    Python's lock anyway), and what others write to it meanwhile is taken, too. So the block is to
    be short, and what was captured is not to be believed without a look for the library's words.
    """
    said = bytearray()
    with _ALONE, tempfile.TemporaryFile() as file:
        try:
            before = os.dup(_ERROR_STREAM)
        except OSError:  # a service without an error stream: nothing can be seen there
            yield said
            return
        try:
            _flush()
            os.dup2(file.fileno(), _ERROR_STREAM)
            try:
                yield said
            finally:
                _flush()
                os.dup2(before, _ERROR_STREAM)
        finally:
            os.close(before)
        file.seek(0)
        said += file.read()


def _flush() -> None:
    """Let Python's own lines go where they were meant to go."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
        sys.stderr.flush()


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
