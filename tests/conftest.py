"""What several parts of the tests share."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.places import ROOT

# A machine that does other things is no fault of the code.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


# A wrapper runs before all other hooks: pytest-xdist reads the groups in one that is first as well.
@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Give every file to one worker, and all that starts NVFlare to the same one, first.

    A file's tests share its fixtures. Simulators and the POC would meet at ports and in memory,
    and as they take longest they begin first. What opens a browser is marked.
    """
    items.sort(key=lambda item: item.get_closest_marker("simulator") is None)
    for item in items:
        starts_nvflare = item.get_closest_marker("simulator") is not None
        file = item.path.relative_to(ROOT).as_posix()
        item.add_marker(pytest.mark.xdist_group("nvflare" if starts_nvflare else file))
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
    return (yield)


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
