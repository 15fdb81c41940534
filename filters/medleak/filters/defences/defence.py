"""What a defence is, for those that take any of them."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from medleak.filters.noise import NoiseSource
from medleak.filters.update import Update, Value


class Defence(Protocol):
    """A frozen record of hyper-parameters that maps an update to a protected one."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """Protect ``update``; raise instead of returning anything unprotected."""
        ...
