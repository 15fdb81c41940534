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

from typing import TYPE_CHECKING, Any

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

_PLACES = {
    "Defence": "defences.defence",
    "NoiseSource": "noise",
    "Spec": "spec",
    "SpecChain": "spec",
    "UpdateError": "update",
    "declaration": "registry",
    "defence": "registry",
    "guarantee_of": "privacy.accounting",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
