"""One line an error: what, why, what to do; no traceback unless it is asked for."""

import contextlib
import errno
import functools
import io
import os
import select
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, ParamSpec

import typer

DONE, FAILED, MISUSED, NOT_KNOWN, INTERRUPTED, UNREAD = 0, 1, 2, 3, 130, 141

EXIT_CODES: Mapping[int, str] = {
    DONE: "done, and all that was asked about was examined",
    FAILED: "something that was asked about was found bad, or could not be done on the way",
    MISUSED: "the request itself cannot be met: an option, a file or a folder that does not fit",
    NOT_KNOWN: "not known: nothing, or not everything, could be examined; or --fail-if holds",
    INTERRUPTED: "interrupted by Ctrl-C",
    UNREAD: "whoever read the output closed it before its end, as `| head` does",
}
"""What each exit code of every command means; docs/reference/commands.md holds the same table."""


class NothingExamined(ValueError):
    """The request could be read, and there was nothing in it to judge: that is no "fine"."""


_P = ParamSpec("_P")


def one_line_errors(command: Callable[_P, None]) -> Callable[_P, None]:
    """Wrap a command: exit codes of errors as `EXIT_CODES` says.

    The command must have a parameter ``ctx``; ``medleak --debug`` lets exceptions through.
    """

    @functools.wraps(command)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            fail("Interrupted.", INTERRUPTED)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                _leave_unread()
            ctx: Any = kwargs["ctx"]
            if ctx.find_root().params.get("debug"):
                raise
            fail(_line(error), _code(error))

    return wrapped


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Print one line to the error stream and exit with ``code``."""
    typer.echo(f"medleak: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


def _nobody_reads() -> bool:
    """Whether the other end of standard output is closed: other pipes break too."""
    output = select.poll()
    with contextlib.suppress(io.UnsupportedOperation):  # output that is kept in memory
        output.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def _leave_unread() -> NoReturn:
    """End as a program that SIGPIPE ends, without a word: nobody reads it."""
    # Python writes what is left in the buffer when it ends, and would fail once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(UNREAD)


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"Cannot write{where}: no space left on the disk. Free some, or name another place "
                "by --out; then repeat the command: an audit goes on from there, lists and images "
                "are written anew."
            )
        if misplaced := _misplaced(error):
            return misplaced
        return f"Cannot use{where}: {error.strerror or error}. Check the path and its permissions."
    if isinstance(error, ValueError):
        return str(error)
    return (
        f"Unexpected {type(error).__name__}: {error}. This is a defect of medleak: please report "
        "it with what `medleak --debug …` prints."
    )


def _misplaced(error: OSError) -> str | None:
    """What to say of a folder where a file is wanted, or the other way round; else None."""
    # Files are written beside their place and moved there: the second name is the one asked for.
    name = error.filename2 or error.filename
    if not isinstance(name, str | bytes):
        return None
    path = Path(os.fsdecode(name))
    if isinstance(error, IsADirectoryError):
        return f"Cannot use {path}: it is a folder, and a file is wanted here. Name a file."
    if isinstance(error, NotADirectoryError | FileExistsError):
        for part in (path, *path.parents):
            if part.is_file():
                return (
                    f"Cannot use {part}: it is a file, and a folder is wanted here. Name another."
                )
    return None


def _code(error: Exception) -> int:
    from medleak.custom.record import EmptyRecord, RecordError

    if isinstance(error, OSError) and (isinstance(error, FileNotFoundError) or _misplaced(error)):
        return MISUSED
    if isinstance(error, NothingExamined | EmptyRecord):
        return NOT_KNOWN
    return (
        MISUSED if isinstance(error, ValueError) and not isinstance(error, RecordError) else FAILED
    )
