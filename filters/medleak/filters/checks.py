"""Range checks shared by every defence: each raises one line that says what, why and what to do."""

import math
from collections.abc import Collection
from typing import TypeGuard

BUFFERS = ("noise", "drop", "pass")


def require_positive(name: str, value: object, why: str) -> None:
    """Raise ValueError unless ``value`` is a finite number > 0."""
    if not (_is_number(value) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}: {why}")


def require_fraction(name: str, value: object, why: str) -> None:
    """Raise ValueError unless 0 < ``value`` < 1."""
    if not (_is_number(value) and 0 < value < 1):
        raise ValueError(f"{name} must be between 0 and 1, got {value!r}: {why}")


def require_whole(name: str, value: object, lowest: int, highest: int, why: str) -> None:
    """Raise ValueError unless ``value`` is an int in [``lowest``, ``highest``]."""
    if not (_is_number(value) and isinstance(value, int) and lowest <= value <= highest):
        raise ValueError(
            f"{name} must be a whole number from {lowest} to {highest}, got {value!r}: {why}"
        )


def require_percentile(name: str, value: object) -> None:
    """Raise ValueError unless 0 < ``value`` <= 100."""
    if not (_is_number(value) and 0 < value <= 100):
        raise ValueError(
            f"{name} must be in (0, 100], got {value!r}: the noise is scaled by this percentile "
            "of the update's absolute values. The paper uses 95."
        )


def require_choice(name: str, value: object, allowed: Collection[str]) -> None:
    """Raise ValueError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")


def _is_number(value: object) -> TypeGuard[float]:
    # bool is an int in Python; "sigma0": true in a JSON file is a mistake, not 1.0.
    return isinstance(value, int | float) and not isinstance(value, bool)
