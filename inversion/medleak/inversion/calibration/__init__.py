"""The least strength of a defence at which nothing leaks, per site.

>>> from medleak.inversion.calibration import mechanism
>>> mechanism("percentile_gaussian:scope=group").text(3)
'percentile_gaussian:sigma0=3,scope=group'

`calibrate` searches a `Mechanism`, a defence with its strength left open, and gives a `Calibration`
a site. All names are imported when they are first asked for, as attacks need torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medleak.inversion.calibration.run import calibrate, read_calibration
    from medleak.inversion.calibration.search import Mechanism, mechanism
    from medleak.inversion.calibration.site import Calibration

__all__ = ["Calibration", "Mechanism", "calibrate", "mechanism", "read_calibration"]

_PLACES = {
    "Calibration": "site",
    "Mechanism": "search",
    "calibrate": "run",
    "mechanism": "search",
    "read_calibration": "run",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
