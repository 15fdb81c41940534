"""Other libraries' chatter kept off the error stream, which is for what a user has to know.

Their errors are shown, and so is whatever medleak itself says; ``--debug`` and Python's own ``-W``
and ``PYTHONWARNINGS`` bring all of it back.
"""

import itertools
import logging
import os
import sys
import warnings
from collections.abc import MutableMapping
from pathlib import Path
from typing import TextIO

# Read when a library is first imported, here or in a process of an audit.
_VARIABLES = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "GLOG_minloglevel": "2",
    "GRPC_VERBOSITY": "ERROR",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
}
_LOGGERS = ("absl", "nvflare", "tensorflow", "torch", "matplotlib", "h5py", "PIL", "pydicom")
_PACKAGES = ("filters", "custom", "inversion")


def quiet_libraries(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let nothing of other libraries but errors reach the error stream of this process."""
    if "--debug" in sys.argv or sys.warnoptions or environment.get("PYTHONWARNINGS"):
        return
    for name, value in _VARIABLES.items():
        environment.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    if logging.lastResort is not None:  # of loggers that nobody gave a handler
        logging.lastResort.setLevel(logging.ERROR)
    shown = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if is_ours(filename):
            shown(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def is_ours(filename: str) -> bool:
    """Whether a warning comes from a file of medleak."""
    pairs = itertools.pairwise(Path(filename).parts)
    return any(above == "medleak" and name in _PACKAGES for above, name in pairs)
