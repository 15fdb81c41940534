"""The least strength of a defence at which nothing leaks, per site.

>>> from medleak.inversion.calibration import mechanism
>>> mechanism("percentile_gaussian:scope=group").text(3)
'percentile_gaussian:sigma0=3,scope=group'

`calibrate` searches a `Mechanism`, a defence with its strength left open, and gives a `Calibration`
a site. All names are imported when they are first asked for, as attacks need torch.
"""

from typing import TYPE_CHECKING

from medleak.filters.imports import late

if TYPE_CHECKING:
    from medleak.inversion.calibration.run import calibrate, read_calibration
    from medleak.inversion.calibration.search import Mechanism, mechanism
    from medleak.inversion.calibration.site import Calibration

__all__ = ["Calibration", "Mechanism", "calibrate", "mechanism", "read_calibration"]

__getattr__ = late(
    __name__,
    {
        "Calibration": "site",
        "Mechanism": "search",
        "calibrate": "run",
        "mechanism": "search",
        "read_calibration": "run",
    },
)
