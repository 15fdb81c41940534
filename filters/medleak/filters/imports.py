"""Importing large libraries without what makes it slow beside their size."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
