"""A cluster of this machine, for tests of what runs on one."""

import os
import sys

import pytest

from medleak.inversion.audit.workers.cluster import LOCAL, Share, connected


@pytest.fixture(scope="session")
def cluster():
    """Two processes at once, which find the tests' own modules where these are found here."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        with connected(LOCAL, Share(), 2) as found:
            yield found
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
