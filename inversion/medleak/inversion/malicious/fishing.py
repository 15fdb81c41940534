"""Fishing: last layers under which one image of a batch makes all the difference between rounds.

Wen, Geiping, Fowl, Goldblum, Goldstein 2022, "Fishing for User Data in Large-Batch Federated
Learning via Gradient Magnification", arXiv:2202.00580v2, section 3.2, with the search over cuts of
its section 3.3: the site is asked about the same batch again and again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from medleak.inversion.malicious.features import before_hidden, hidden_name, invert
from medleak.inversion.malicious.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Fishing:
    """Ask in ``rounds`` rounds with a cut that moves by ``step`` of the public images each time.

    The logit of class ``target`` is ``gain`` times a feature (a direction drawn by ``seed``) less a
    cut, all others are zero: whatever its class, an image between the cuts of two rounds is right
    in one and wrong in the other, and the difference of the two gradients is its own alone.
    """

    target: int = 0
    rounds: int = 65
    first: float = 0.1
    step: float = 1 / 128
    gain: float = 1000.0
    seed: int = 0

    def tamper(self, model: nn.Module, view: View, round: int = 0) -> nn.Module:
        """``model``, its last linear layer changed in place, for ``round`` in 0 … rounds - 1."""
        last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
        caught: list[Tensor] = []
        handle = last.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        with torch.no_grad():
            model(view.shown(view.public))
        handle.remove()
        generator = torch.Generator().manual_seed(self.seed)
        direction = torch.randn(caught[0].shape[1], generator=generator)
        direction /= direction.norm()
        along = caught[0] @ direction
        cut = along.quantile(self.first + round * self.step)
        gain = self.gain / along.std().clamp_min(1e-12)
        with torch.no_grad():
            last.weight.zero_()
            last.bias.zero_()
            last.weight[self.target] = gain * direction
            last.bias[self.target] = -gain * cut
        return model

    def read(self, updates: Sequence[Mapping[str, Tensor]], sent: nn.Module, view: View) -> Tensor:
        """Images [K, 1, H, W] in [0, 1]: what lies between the cuts of two rounds, if anything.

        From the hidden layer's strongest row, through the layers before it. Of a network without
        a hidden layer the difference is the gradient of one image, and any attack on one reads it.
        """
        name = hidden_name(sent)
        found = []
        for before, after in pairwise(updates):
            weight = before[f"{name}.weight"] - after[f"{name}.weight"]
            bias = before[f"{name}.bias"] - after[f"{name}.bias"]
            strongest = int(bias.abs().argmax())
            if bias[strongest].abs() > 1e-3 * before[f"{name}.bias"].abs().max():
                found.append(weight[strongest] / bias[strongest])
        if not found:
            return torch.zeros(0, 1, *view.size)
        return invert(before_hidden(sent), torch.stack(found), view)
