"""The JSON files of an audit directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medleak.custom.atomic import write_atomic


def read_refused(out: Path) -> list[dict[str, Any]]:
    """What an earlier run of the audit in ``out`` refused: ``{"case", "why"}`` each."""
    path = out / "summary.json"
    return json.loads(path.read_bytes())["refused"] if path.exists() else []


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON, whole or not at all; NaN and infinity are refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")
