"""Imprint modules: a linear layer that sorts the images of a batch into bins of their brightness.

Fowl, Geiping, Czaja, Goldblum, Goldstein 2021, "Robbing the Fed: Directly Obtaining Private Data in
Federated Learning with Modified Models", arXiv:2110.13057v2, section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.inversion.malicious.front import Front, to_gray
from medleak.inversion.malicious.linear import between_rows, thresholds
from medleak.inversion.malicious.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Imprint:
    """``bins`` neurons, all of which measure the mean brightness, with rising thresholds."""

    bins: int = 256

    def tamper(self, model: nn.Module, view: View) -> Front:
        """``model`` behind an imprint module; thresholds cut the public images."""
        seen = view.heard(view.public)
        rows = torch.full((self.bins, seen.shape[1]), 1 / seen.shape[1])
        cuts = thresholds(seen.mean(1), self.bins)
        return Front(model, rows, -cuts, view.size, to_gray())

    def read(self, update: Mapping[str, Tensor], sent: nn.Module, view: View) -> Tensor:
        """Images [K, 1, H, W] in [0, 1], one a bin that anything fell into."""
        return view.images(between_rows(update["rows.weight"], update["rows.bias"]))
