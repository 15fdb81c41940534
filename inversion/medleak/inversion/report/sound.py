"""Files of an audit that a stranger may have written: bounded, and only what medleak writes."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medleak.filters import storage

_LARGEST = 64_000_000  # bytes; a summary of thousands of sites takes some
_DEEPEST = 40  # levels; ours have about 8
_LONGEST_NUMBER = 20  # digits
_LARGEST_NUMBER = 1e30


def read_json(path: Path) -> Any:
    """The content of a JSON file; None if there is none.

    Raises:
        ValueError: It is no plain file, too large, no JSON, nested too deeply, or holds a number
            or text that no audit has; names the field.
    """
    if not path.exists() and not path.is_symlink():
        return None
    try:
        text = storage.read_bounded(path, _LARGEST).decode("utf-8")
        content = json.loads(text, parse_int=_whole)
        _check(content, "")
    except UnicodeDecodeError:
        raise _damaged(path, "it is not UTF-8") from None
    except RecursionError:
        raise _damaged(path, f"it is nested deeper than {_DEEPEST} levels") from None
    except (OSError, ValueError) as error:
        raise _damaged(path, getattr(error, "strerror", None) or error) from None
    return content


@contextmanager
def as_written(folders: Sequence[Path]) -> Iterator[None]:
    """Whatever fails on the content of ``folders`` inside of this block is damage, in one line.

    Each field is checked where it is read; this catches the combinations that nobody thought of.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(_one_line(folders, error)) from error
    except UnicodeError as error:
        raise ValueError(_one_line(folders, error)) from error


def _one_line(folders: Sequence[Path], error: Exception) -> str:
    where = " or ".join(str(folder) for folder in folders)
    return (
        f"A file of the audit in {where} holds something else than medleak writes "
        f"({type(error).__name__}: {str(error)[:100]!a}): it cannot be shown. Restore it, or "
        "repeat the audit; `medleak --debug report` says where."
    )


def _damaged(path: Path, why: object) -> ValueError:
    return ValueError(
        f"{path} is damaged ({str(why)[:200]}): its figures cannot be shown. Restore it, or repeat "
        "the command that wrote it."
    )


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits, {digits[:8]}…, is no figure")
    return int(digits)


def _check(value: Any, where: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, float) and math.isfinite(value) and abs(value) > _LARGEST_NUMBER:
        raise ValueError(f"field {where or 'at the top'!r}: {value:g} is no figure")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key, where)
            _check(inner, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check(inner, f"{where}[{number}]", depth + 1)


def _check_text(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(
            f"field {where or 'at the top'!r}: {text[:40]!a} is half a character"
        ) from None
