"""Where the repository is, and the real images and weights that some tests use."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("MEDLEAK_SHARED", ROOT.parent / "shared")).resolve()
