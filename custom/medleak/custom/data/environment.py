"""Paths that reach NVFlare's processes through environment variables."""

import os
from pathlib import Path

DATA_VARIABLE = "MEDLEAK_DATA"
WEIGHTS_VARIABLE = "MEDLEAK_WEIGHTS"


def path_variable(name: str) -> Path | None:
    """The path in the environment variable ``name``; None if it is unset or empty.

    NVFlare starts every site in a directory of its own below the workspace, so a relative path is
    looked for from the directory where the user's shell stood, and then from the process's own
    directory upwards. The path need not exist: its reader says so with the reason why it is needed.
    """
    value = os.environ.get(name)
    if not value:
        return None
    path = Path(value).expanduser()
    if path.is_absolute():
        return path
    here = Path.cwd()
    bases = [Path(os.environ.get("PWD", here)), here, *here.parents]
    return next((b / path for b in bases if (b / path).exists()), bases[0] / path)
