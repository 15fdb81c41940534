"""What tests of the evidence share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.inversion.report.dossier.dossiers import key, signed

__all__ = ["key", "signed", "unlisted"]


@pytest.fixture
def unlisted(monkeypatch) -> Callable[[Path], None]:
    """Make a folder one that may not be listed, for whoever runs the tests, root included."""
    scandir = os.scandir

    def hide(folder: Path) -> None:
        def refusing(path=".", *rest):
            # pytest takes its own folders away through file descriptors, which are no names.
            if not isinstance(path, int) and Path(os.fsdecode(path)) == folder:
                raise PermissionError(13, "Permission denied", str(folder))
            return scandir(path, *rest)

        monkeypatch.setattr("os.scandir", refusing)

    return hide
