"""Values of a JSON file that anybody may have written: as what they should be, or as nothing."""

import json
import math
from collections.abc import Mapping
from typing import Any

from medleak.inversion.report.model import Figure


def number(value: Any) -> float | None:
    """``value`` if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def count(value: Any) -> int:
    """``value`` as a number of things; 0 if it is none."""
    found = number(value)
    return int(found) if found is not None and 0 <= found <= 1e12 else 0


def mapping(raw: Any) -> Mapping[str, Any]:
    """``raw`` if it has names, else an empty mapping."""
    return raw if isinstance(raw, Mapping) else {}


def listing(raw: Any) -> list[Any]:
    """``raw`` if it is a list, else an empty one."""
    return raw if isinstance(raw, list) else []


def text(raw: Any) -> str:
    """``raw`` as a text; what is none as JSON, and nothing as an empty one."""
    return raw if isinstance(raw, str) else "" if raw is None else json.dumps(raw)


def share(raw: Any) -> Figure:
    """A share with its interval; undefined where a part is missing or is no share."""
    raw = mapping(raw)
    value, low, high = (number(raw.get(k)) for k in ("value", "lower95", "upper95"))
    if value is None or low is None or high is None or not 0 <= low <= value <= high <= 1:
        return Figure()
    return Figure(mean=value, lower95=low, upper95=high)


def roc(separation: Mapping[str, Any]) -> dict[float, Figure]:
    """False positive rate to true positive rate, rising; empty where there is no curve."""
    points = (mapping(point) for point in listing(separation.get("curve")))
    curve = {x: share(p) for p in points if (x := number(p.get("fpr"))) and 0 < x <= 1}
    return dict(sorted(curve.items()))
