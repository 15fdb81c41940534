"""Replacement by the honest model itself: each row keeps its direction, its scale and bias change.

The neuron of a row is made to fire for the few images on which it is strongest, so that single
images reach it; nothing about the row's direction tells. Ours; the idea of thresholds is that of
arXiv:2110.13057v2, that of choosing among honest directions that of arXiv:2112.02918v2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.inversion.malicious.features import before_hidden, hidden_name, invert
from medleak.inversion.malicious.linear import distinct, single_rows
from medleak.inversion.malicious.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaling:
    """Biases let through ``share`` of the public images; ``gain`` multiplies rows and biases.

    ``rows``: how many of the hidden layer's are changed, the first ones; None: all.
    """

    share: float = 1 / 64
    gain: float = 4.0
    rows: int | None = None

    def tamper(self, model: nn.Sequential, view: View) -> nn.Sequential:
        """``model``, changed in place."""
        with torch.no_grad():
            hidden = next(m for m in model if isinstance(m, nn.Linear))
            reached = before_hidden(model)(view.shown(view.public)) @ hidden.weight.T
            cuts = reached.mean(0) + reached.std(0) * _normal_quantile(1 - self.share)
            changed = slice(self.rows)
            hidden.weight[changed] *= self.gain
            hidden.bias[changed] = -self.gain * cuts[changed]
        return model

    def read(
        self, update: Mapping[str, Tensor], sent: nn.Module, view: View, *, most: int = 48
    ) -> Tensor:
        """Up to ``most`` images [K, 1, H, W] in [0, 1], those that most neurons agree about."""
        name = hidden_name(sent)
        weight, bias = update[f"{name}.weight"][: self.rows], update[f"{name}.bias"][: self.rows]
        return invert(before_hidden(sent), distinct(single_rows(weight, bias))[0][:most], view)


def _normal_quantile(share: float) -> float:
    return float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))
