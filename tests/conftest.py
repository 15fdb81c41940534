"""What several parts of the tests share."""

import subprocess
import sys
import zipfile
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from medleak.filters.noise import NoiseSource
from tests.places import ROOT

# A machine that does other things is no fault of the code.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts NVFlare takes longest and begins first. What opens a browser is marked."""
    items.sort(key=lambda item: item.get_closest_marker("simulator") is None)
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give every file to one worker, and all that starts NVFlare to the same one.

    A file's tests share its fixtures; simulators and the POC would meet at ports and in memory.
    Not ``--dist loadgroup``: with pytest 9.2, xdist 3.8 does not see the groups and says nothing.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return "nvflare" if _starts_nvflare(file) else file

    return ByFile(config, log)


@cache
def _starts_nvflare(file: str) -> bool:
    return "pytest.mark.simulator" in (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory, monkeypatch) -> Path:
    """Where this user's programs keep what they know: not in the home of who runs the tests."""
    home = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    return home


@pytest.fixture
def repeatable_noise(monkeypatch) -> None:
    """Every source of noise that claims to be secure is the next of a row that is always the same.

    For tests of what many draws say together: a bound that holds with 95 % confidence is wrong, or
    lower than a test can ask for, in one run of twenty.
    """
    sources = (NoiseSource.seeded(0, "tests", k) for k in count())
    monkeypatch.setattr(NoiseSource, "secure", staticmethod(lambda: next(sources)))


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
