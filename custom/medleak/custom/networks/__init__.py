"""Networks that the jobs train, by the names that a record keeps, and weights for them.

MONAI takes seconds to import, so it is when the first network is asked for.
"""

from typing import TYPE_CHECKING, Any

from medleak.custom.networks.weights import WeightsError, load_weights
from medleak.filters.imports import uncollected

if TYPE_CHECKING:
    from medleak.custom.networks.architectures import (
        densenet121,
        densenet121_groupnorm,
        resnet18,
        resnet18_cifar,
        resnet18_groupnorm,
        unet,
    )

__all__ = [
    "WeightsError",
    "densenet121",
    "densenet121_groupnorm",
    "load_weights",
    "resnet18",
    "resnet18_cifar",
    "resnet18_groupnorm",
    "unet",
]


def __getattr__(name: str) -> Any:
    """A network's factory; nothing but `__all__` is looked for elsewhere."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with uncollected():
        from medleak.custom.networks import architectures
    return getattr(architectures, name)
