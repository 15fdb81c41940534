"""Importing late, and large libraries without what makes it slow beside their size."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def uncollected() -> Iterator[None]:
    """Import here without Python's garbage collector, which finds nothing and looks at everything.

    Modules are kept for good, and each of the collector's passes goes through all of them again: of
    the CPU time of importing PyTorch, torchvision and MONAI that is a quarter. The collector is
    on again at the end if it was before, whatever happens between.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def late(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` (PEP 562) that imports a name when it is first asked for.

    Args:
        package: Its ``__name__``.
        places: Name -> the module below ``package`` that has it.
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{places[name]}"), name)

    return find
