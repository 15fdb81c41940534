"""SCAFFOLD's second tensor set: what its control variates tell of an update, and how not.

A site that took K steps at learning rate η from the model x to y, with the server's control c,
sends beside Δ = y - x the change of its own control (Karimireddy et al., arXiv:1910.06378, option
II of algorithm 1, as NVFlare's helper computes it)

    Δc = -c - Δ / (K·η),

and the server knows c. So Δc tells Δ up to the number K·η: a noised update with Δc in clear beside
it is an update in clear, and noise of its own on Δc would be averaged with that on Δ. The protected
Δ̃ instead gives -c - Δ̃ / (K·η), which tells nothing but Δ̃ and K·η: it is post-processing.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medleak.filters.update import UpdateError

CONTROLS = "scaffold_c_diff"
"""Where the change of a site's control is, in the meta of its update."""
SERVERS = "scaffold_c_global"
"""Where the server's control is, in the meta of the model that it sends."""

AGREE = 1e-3  # relative: what float32 leaves of the equation over some thousand steps

_Arrays = Mapping[str, Any]


def told_update(controls: _Arrays, servers: _Arrays, k_eta: float) -> dict[str, np.ndarray]:
    """The update that Δc tells, -K·η·(Δc + c), in float64; c is 0 where ``servers`` lacks it."""
    return {
        name: -k_eta * (np.asarray(value, np.float64) + servers.get(name, 0.0))
        for name, value in controls.items()
    }


def k_eta_of(update: _Arrays, controls: _Arrays, servers: _Arrays) -> tuple[float, float]:
    """K·η by least squares over the entries of ``controls``, and how far the equation is missed.

    The second is relative to the update, 0 where Δc tells exactly this update; 1 where K·η = 0 is
    the best that there is, so that Δc tells another one, or none.

    Raises:
        UpdateError: A name or a shape of ``controls`` is not the update's.
    """
    given = {n: np.asarray(update[n], np.float64) for n in controls if n in update}
    for name, value in controls.items():
        if name not in given or given[name].shape != np.shape(value):
            raise UpdateError(
                f"{CONTROLS} holds {name} of shape {np.shape(value)}, which is no entry of the "
                "update: what it tells is not known. Send what NVFlare's PTScaffoldHelper gives."
            )
    told = told_update(controls, servers, 1.0)
    along = sum(float(np.vdot(told[n], given[n])) for n in told)
    square = sum(float(np.vdot(v, v)) for v in told.values())
    k_eta = max(along / square, 0.0) if square else 0.0
    left = sum(
        float(np.sum((np.asarray(update[n], np.float64) - k_eta * told[n]) ** 2)) for n in told
    )
    whole = sum(float(np.sum(np.asarray(update[n], np.float64) ** 2)) for n in told)
    return k_eta, float(np.sqrt(left / whole)) if whole else 1.0


def protected_controls(
    controls: _Arrays, servers: _Arrays, protected: _Arrays, k_eta: float
) -> dict[str, np.ndarray]:
    """Δc of the protected update, in the dtypes of ``controls``; what is withheld is in neither."""
    made = {}
    for name, value in controls.items():
        if name in protected:
            delta = np.asarray(protected[name], np.float64)
            made[name] = (-np.asarray(servers.get(name, 0.0)) - delta / k_eta).astype(
                np.asarray(value).dtype
            )
    return made
