"""Range checks shared by every defence: each raises one line that says what, why and what to do."""

import math
from collections.abc import Collection

BUFFERS = ("noise", "drop", "pass")


def require_positive(name: str, value: float, why: str) -> None:
    """Raise ValueError unless ``value`` is a finite number > 0."""
    if not (_is_number(value) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}: {why}")


def require_percentile(name: str, value: float) -> None:
    """Raise ValueError unless 0 < ``value`` <= 100."""
    if not (_is_number(value) and 0 < value <= 100):
        raise ValueError(
            f"{name} must be in (0, 100], got {value!r}: the noise is scaled by this percentile "
            "of the update's absolute values. The paper uses 95."
        )


def require_fraction(name: str, value: float, why: str) -> None:
    """Raise ValueError unless 0 < ``value`` <= 1."""
    if not (_is_number(value) and 0 < value <= 1):
        raise ValueError(f"{name} must be in (0, 1], got {value!r}: {why}")


def require_choice(name: str, value: str, allowed: Collection[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")


def _is_number(value: object) -> bool:
    # bool is an int in Python; "sigma0": true in a JSON file is a mistake, not 1.0.
    return isinstance(value, int | float) and not isinstance(value, bool)
