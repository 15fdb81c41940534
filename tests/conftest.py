"""What several parts of the tests share."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests.places import ROOT

# A machine that does other things is no fault of the code.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel that sites install."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=100)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder for PYTHONPATH that holds medleak as the wheel installs it."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder
