"""One line an error: what, why, what to do; no traceback unless it is asked for."""

import errno
import functools
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec

import typer

FAILED, MISUSED, INTERRUPTED = 1, 2, 130

_P = ParamSpec("_P")


def one_line_errors(command: Callable[_P, None]) -> Callable[_P, None]:
    """Wrap a command: exit 2 for a request that cannot be met, 1 for a failure on the way.

    The command must have a parameter ``ctx``; ``medleak --debug`` lets exceptions through.
    """

    @functools.wraps(command)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            fail("Interrupted.", INTERRUPTED)
        except Exception as error:
            ctx: Any = kwargs["ctx"]
            if ctx.find_root().params.get("debug"):
                raise
            fail(_line(error), _code(error))

    return wrapped


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Print one line to the error stream and exit with ``code``."""
    typer.echo(f"medleak: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"Cannot write{where}: no space left on the disk. Free some, or name another place "
                "by --out; what is finished is kept, and the same command goes on from there."
            )
        return f"Cannot use{where}: {error.strerror or error}. Check the path and its permissions."
    if isinstance(error, ValueError):
        return str(error)
    return (
        f"Unexpected {type(error).__name__}: {error}. This is a defect of medleak: please report "
        "it with what `medleak --debug …` prints."
    )


def _code(error: Exception) -> int:
    from medleak.custom.record import RecordError

    return (
        MISUSED if isinstance(error, ValueError) and not isinstance(error, RecordError) else FAILED
    )
