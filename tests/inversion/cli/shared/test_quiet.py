"""Tests of what other libraries may say on the error stream."""

import logging
import os
import subprocess
import sys

import pytest

from medleak.inversion.cli.shared.quiet import is_ours, quiet_libraries

PROGRAM = """
import logging, sys, warnings
sys.argv += {arguments!r}
from medleak.inversion.cli.shared.quiet import quiet_libraries
quiet_libraries()
warnings.warn("a library's warning")
logging.getLogger("nvflare.x").warning("a library's line")
logging.getLogger("anybody").info("a line of no account")
logging.getLogger("anybody").warning("another library's line")
logging.getLogger("anybody").error("a real error")
warnings.warn_explicit("our own warning", UserWarning, "/x/medleak/custom/record.py", 1)
"""


def said(arguments=(), **environment):
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
        env=clean | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_only_errors_and_our_own_words_are_shown():
    lines = said().splitlines()
    assert lines[0] == "a real error"
    assert "our own warning" in lines[1]
    assert not [line for line in lines if "library" in line]


@pytest.mark.parametrize(
    ("arguments", "environment"), [(["--debug"], {}), ([], {"PYTHONWARNINGS": "default"})]
)
def test_whoever_asks_sees_all_of_it(arguments, environment):
    text = said(arguments, **environment)
    assert "a library's warning" in text
    assert "another library's line" in text


def test_what_the_user_set_stays(monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    monkeypatch.setattr(sys, "argv", ["medleak"])
    monkeypatch.setattr("warnings.showwarning", print)
    levels = {logger: logger.level for logger in map(logging.getLogger, ("absl", "nvflare"))}
    last = logging.lastResort
    assert last is not None
    before = last.level
    environment = {"GRPC_VERBOSITY": "INFO"}
    try:
        quiet_libraries(environment)
    finally:
        last.setLevel(before)
        for logger, level in levels.items():
            logger.setLevel(level)
    assert environment["GRPC_VERBOSITY"] == "INFO"
    assert environment["TF_CPP_MIN_LOG_LEVEL"] == "2"


@pytest.mark.parametrize(
    ("file", "ours"),
    [
        ("/home/me/medleak/venv/lib/nvflare/x.py", False),
        ("/site-packages/medleak/inversion/cli/app.py", True),
        ("<string>", False),
    ],
)
def test_our_files_are_told_by_their_packages(file, ours):
    assert is_ours(file) is ours
