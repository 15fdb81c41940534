"""``--shares``: what each site's patients are like, for commands that ask what updates tell."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

SharesOption = Annotated[
    Path | None,
    typer.Option(
        help="JSON of further attributes: name to site to share of its patients, such as "
        '{"women": {"site-1": 0.4, "site-2": 0.6}}.'
    ),
]


def read_shares(path: Path | None) -> dict[str, dict[str, float]]:
    """What the file holds; nothing without one.

    Raises:
        ValueError: It holds something else.
    """
    if path is None:
        return {}
    content: Any = None
    with suppress(ValueError):  # what is no JSON holds no shares either
        content = json.loads(path.read_bytes())
    sound = isinstance(content, dict) and all(
        isinstance(of, dict) and all(_is_share(v) for v in of.values()) for of in content.values()
    )
    if not sound:
        raise ValueError(
            f"{path} holds no shares: give names of attributes, each with sites and numbers from "
            '0 to 1, as {"women": {"site-1": 0.4}}.'
        )
    return content


def _is_share(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1
