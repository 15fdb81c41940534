"""Privacy filters on federated updates: pure functions, and thin NVFlare adapters.

>>> import numpy as np
>>> from medleak.filters import NoiseSource, defence, guarantee_of
>>> protect = defence("clipped_gaussian:max_grad_norm=1,noise_multiplier=2")
>>> sent = protect({"weight": np.ones((2, 3), np.float32)}, rng=NoiseSource.secure())
>>> sent["weight"].shape, guarantee_of(protect) is not None
((2, 3), True)

The same as NVFlare filters: :mod:`medleak.filters.adapters`. What is named here is imported when it
is first asked for.
"""

from typing import TYPE_CHECKING

from medleak.filters.imports import late

if TYPE_CHECKING:
    from medleak.filters.defences.defence import Defence
    from medleak.filters.noise import NoiseSource
    from medleak.filters.privacy.accounting import guarantee_of
    from medleak.filters.registry import declaration, defence
    from medleak.filters.spec import Spec, SpecChain
    from medleak.filters.update import UpdateError

__all__ = [
    "Defence",
    "NoiseSource",
    "Spec",
    "SpecChain",
    "UpdateError",
    "declaration",
    "defence",
    "guarantee_of",
]

__getattr__ = late(
    __name__,
    {
        "Defence": "defences.defence",
        "NoiseSource": "noise",
        "Spec": "spec",
        "SpecChain": "spec",
        "UpdateError": "update",
        "declaration": "registry",
        "defence": "registry",
        "guarantee_of": "privacy.accounting",
    },
)
