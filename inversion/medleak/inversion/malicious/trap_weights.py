"""Trap weights: a linear layer whose neurons hardly any image reaches, so that one alone may.

Boenisch, Dziedzic, Schuster, Shamsabadi, Shumailov, Papernot 2021, "When the Curious Abandon
Honesty: Federated Learning Is Not Private", arXiv:2112.02918v2, section 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.inversion.malicious.features import before_hidden, hidden_name, invert
from medleak.inversion.malicious.front import Front, to_gray
from medleak.inversion.malicious.linear import distinct, single_rows
from medleak.inversion.malicious.view import View

LEVEL = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrapWeights:
    """Half of each row's weights is negative, the other half their mirror, scaled down.

    The scale is the largest at which at most ``share`` of the public images reach a neuron.
    ``rows`` counts those of the module that is put before a network without a hidden layer.
    """

    share: float = 1 / 64
    rows: int = 256
    seed: int = 0

    def tamper(self, model: nn.Module, view: View) -> nn.Module:
        """A sequential ``model`` with its hidden layer trapped; another one behind a trap."""
        generator = torch.Generator().manual_seed(self.seed)
        if isinstance(model, nn.Sequential):
            with torch.no_grad():
                hidden = next(m for m in model if isinstance(m, nn.Linear))
                seen = before_hidden(model)(view.shown(view.public))
                hidden.weight.copy_(_trap(seen, len(hidden.weight), self.share, generator))
                hidden.bias.zero_()
            return model
        seen = view.heard(view.public) + LEVEL
        rows = _trap(seen, self.rows, self.share, generator)
        level = torch.tensor([LEVEL])
        return Front(model, rows, torch.zeros(self.rows), view.size, to_gray(), level)

    def read(
        self, update: Mapping[str, Tensor], sent: nn.Module, view: View, *, most: int = 48
    ) -> Tensor:
        """Up to ``most`` images [K, 1, H, W] in [0, 1], those that most neurons agree about."""
        name = "rows" if isinstance(sent, Front) else hidden_name(sent)
        found = distinct(single_rows(update[f"{name}.weight"], update[f"{name}.bias"]))[0][:most]
        if isinstance(sent, nn.Sequential):
            return invert(before_hidden(sent), found, view)
        return view.images(found - LEVEL)


def _trap(seen: Tensor, count: int, share: float, generator: torch.Generator) -> Tensor:
    """Rows [count, D] that at most ``share`` of ``seen`` [N, D] reach."""
    width = seen.shape[1]
    half = width // 2
    rows = torch.zeros(count, width)
    for row in rows:
        order = torch.randperm(width, generator=generator)
        low = -torch.randn(half, generator=generator).abs() / width**0.5
        row[order[:half]] = low
        row[order[half : 2 * half]] = -low[torch.randperm(half, generator=generator)]
    negative = seen @ rows.clamp_max(0).T
    positive = seen @ rows.clamp_min(0).T
    reach = (-negative / positive.clamp_min(1e-12)).quantile(share, dim=0)  # scale of each row
    return rows.clamp_max(0) + rows.clamp_min(0) * reach[:, None]
