"""Leave entries out of the update: batch-norm statistics, chosen layers."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from medleak.filters import checks
from medleak.filters.noise import NoiseSource
from medleak.filters.update import Update, UpdateError, Value, check_update, kinds

BatchNorm = Literal["send", "withhold_statistics", "withhold_all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Withhold:
    """Send the update without some entries; the server keeps its own values for them.

    Guarantee: what is left out does not leak from the update. **None** for what is sent: weights
    alone were inverted as well (row-space matching needs no statistics).

    Args:
        batch_norm: ``withhold_statistics`` leaves out running means, variances and counters;
            ``withhold_all`` the affine weights too, which is FedBN; ``send`` neither.
        layers: Shell-style patterns of names, such as ``"fc.*"``; each must match something, as a
            pattern that matches nothing is a typing error that would leak.

    Source: Li et al. 2021 (FedBN), arXiv:2102.07623v2. A client that trains with its own statistics
    must keep them between rounds: the adapters ``Withhold`` and ``RestoreWithheld`` do.
    """

    name: ClassVar[str] = "withhold"

    batch_norm: BatchNorm = "withhold_statistics"
    layers: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Reject settings that withhold nothing."""
        choices = ("send", "withhold_statistics", "withhold_all")
        checks.require_choice("batch_norm", self.batch_norm, choices)
        layers = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
        if not all(isinstance(pattern, str) and pattern for pattern in layers):
            raise ValueError(f"layers must be a list of name patterns, got {self.layers!r}.")
        object.__setattr__(self, "layers", layers)
        if self.batch_norm == "send" and not self.layers:
            raise ValueError(
                'batch_norm="send" without layers withholds nothing: name some layers.'
            )

    def __call__(
        self,
        update: Update,
        *,
        rng: NoiseSource,
        global_state: Mapping[str, object] | None = None,
    ) -> dict[str, Value]:
        """The entries that are sent, as the same objects; ``rng`` is not used.

        Raises:
            UpdateError: See :func:`check_update`; or a pattern matches no name; nothing would be
                left.
        """
        unfit = self.unfit(global_state or {})
        check_update({n: v for n, v in update.items() if n not in unfit}, global_state)
        left_out = self.withheld([*update, *(global_state or ())])
        sent = {n: v for n, v in update.items() if n not in left_out}
        if not sent:
            raise UpdateError("Everything is withheld: there is nothing to send. Withhold less.")
        return sent

    def unfit(self, global_state: Mapping[str, object]) -> set[str]:
        """Withheld entries that the network itself keeps in a type without noise (integers, say).

        They are not looked at, so that withholding is a way out for a network that changes them.
        """
        kind_of = kinds(global_state)
        if not global_state:
            return set()
        return {
            n
            for n in self.withheld(list(global_state))
            if kind_of[n] != "counter" and np.asarray(global_state[n]).dtype.kind != "f"
        }

    def withheld(self, names: Sequence[str]) -> set[str]:
        """Which of ``names`` are left out."""
        kind_of = kinds(names)
        local = {
            "send": (),
            "withhold_statistics": ("running_mean", "running_var", "counter"),
            "withhold_all": ("running_mean", "running_var", "counter", "bn_affine"),
        }[self.batch_norm]
        found = {n for n, kind in kind_of.items() if kind in local}
        for pattern in self.layers:
            matching = set(fnmatch.filter(kind_of, pattern))
            if not matching:
                raise UpdateError(
                    f"The pattern {pattern!r} of layers matches no entry of the update: what it "
                    "should withhold would be sent. Correct the pattern."
                )
            found |= matching
        return found
