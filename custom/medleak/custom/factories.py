"""Factories of networks by name: which names may be imported and called, and what they may do.

A job, a record or a message names a network; importing it runs code, and so does calling it. So a
name counts only if it is one of :data:`medleak.filters.allowed.NETWORKS`, or one that a person
here has allowed; and while a factory runs it reaches no network and starts no process.
"""

import contextlib
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from medleak.filters.allowed import NETWORKS, NETWORKS_VARIABLE, matches


class NotAllowed(ValueError):
    """A name that nobody here allowed; it was not imported."""


def allowed_here() -> tuple[str, ...]:
    """Names and prefixes beside ours that the operator of this process allows."""
    named = os.environ.get(NETWORKS_VARIABLE, "").split(":")
    return tuple(n for n in named if "." in n.strip("."))


def brings_code() -> bool:
    """True in a process of an NVFlare job that ships code.

    NVFlare puts the job's ``custom/`` on the path only if it is there, and has asked the site's
    authorization (``byoc``) before; such a job can import whatever it likes anyway.
    """
    return any(
        path.name == "custom" and path.parent.name.startswith("app_") and path.is_dir()
        for path in map(Path, filter(None, map(str, sys.path)))
    )


def resolve(path: str, allowed: Sequence[str]) -> Callable[..., Any]:
    """Import the factory ``path``: a class of networks, or a function, of an allowed module.

    Args:
        path: Dotted name.
        allowed: Full names, or prefixes that end with a dot, beside ours.

    Raises:
        NotAllowed: The name is none of these; nothing was imported.
        ImportError: There is no such module or name.
        TypeError: It is no class of networks and no function that was written there.
    """
    parts = path.split(".")
    if not matches(path, (*NETWORKS, *allowed)) or any(not p or p.startswith("_") for p in parts):
        raise NotAllowed(path)
    try:
        factory = getattr(importlib.import_module(".".join(parts[:-1])), parts[-1])
    except AttributeError as error:
        raise ImportError(str(error)) from error
    # A name re-exported by an allowed module (say an `os.system`) is not covered by its prefix.
    home = f"{getattr(factory, '__module__', '')}."
    prefixes = [a if a.endswith(".") else f"{a.rpartition('.')[0]}." for a in (*NETWORKS, *allowed)]
    is_factory = inspect.isfunction(factory) or (
        inspect.isclass(factory) and issubclass(factory, nn.Module)
    )
    if not is_factory or not home.startswith(tuple(prefixes)):
        raise TypeError(f"{path} is no network class or factory of an allowed module")
    return factory


_FORBIDDEN = (
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
    *("urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect"),
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("os.forkpty", "pty.spawn", "webbrowser.open"),
)
_sealed = threading.local()
_installed = threading.Lock()


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """Refuse connections and new processes in this thread while the block runs.

    A second line only: it stops a factory that downloads, not code that means harm (a thread of its
    own would do).
    """
    if _installed.acquire(blocking=False):  # once a process, for ever: hooks cannot be removed
        sys.addaudithook(_refuse)
    before = getattr(_sealed, "active", False)
    _sealed.active = True
    try:
        yield
    finally:
        _sealed.active = before


def _refuse(event: str, arguments: Any) -> None:
    if event in _FORBIDDEN and getattr(_sealed, "active", False):
        raise PermissionError(
            f"A network's factory tried {event}: it may neither download nor start processes. Use "
            "one that makes the network alone, and give it its weights as a file."
        )
