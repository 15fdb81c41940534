"""Audits as the classes of attack read them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from tests.inversion.report.directories import KNOWLEDGE

from medleak.inversion.report.attack_classes.answer import Answer, Recipient
from medleak.inversion.report.model import Audit, Figure
from medleak.inversion.report.reading import read_audit
from medleak.inversion.results.files import read_config, write_json

HEALTHY = {f"row_space|{KNOWLEDGE}": {"ssim": 0.97, "reached": True, "seconds": 1.0}}
NINE = {"recorded": {"sites": [f"site-{k}" for k in range(1, 10)], "rounds": [0]}}
Audited = Callable[..., Audit]


def summing(sites: int) -> str:
    return f"secure_aggregation:sites={sites}"


def interval(figure: Figure) -> tuple[float, float, float]:
    """Lower bound, value and upper bound, all of which there are."""
    lower, mean, upper = figure.lower95, figure.mean, figure.upper95
    assert lower is not None
    assert mean is not None
    assert upper is not None
    return lower, mean, upper


def by(found: Iterable[Answer], recipient: Recipient) -> list[Answer]:
    return [a for a in found if a.recipient is recipient]


@pytest.fixture
def audited(directory) -> Audited:
    """Make an audit: rows, groups, and files beside them."""

    def make(
        rows: Any = (), groups: Any = None, *, beside: Mapping[str, Any] | None = None, **more: Any
    ) -> Audit:
        folder = directory.write(rows, groups, pictures=False, **more)
        of = {"record": read_config(folder)["record"]}
        for name, content in (beside or {}).items():
            write_json(folder / name, of | content if isinstance(content, dict) else content)
        return read_audit(folder)

    return make
