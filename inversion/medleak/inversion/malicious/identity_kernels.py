"""Linear leakage through a convolution of scaled identity kernels, one channel for each site.

The convolution hands the image on, unchanged, to the channel of one site alone, so that the layer
behind it has columns of its own for each site, even when the server sees nothing but the sum.

Zhao, Sharma, Elkordy, Ezzeldin, Avestimehr, Bagchi 2023, "LOKI: Large-scale Data Reconstruction
Attack against Federated Learning through Model Manipulation", arXiv:2303.12233v2, section 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medleak.inversion.malicious.front import Front
from medleak.inversion.malicious.linear import between_rows, thresholds
from medleak.inversion.malicious.view import View

LEVEL = 3.0
"""Added to pixels in model units, which start at -2.1 under ImageNet's: ReLU then passes all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityKernels:
    """``bins`` thresholds; the kernel of ``site`` of ``sites`` is the identity, the others zero."""

    bins: int = 256
    sites: int = 1
    site: int = 0

    def tamper(self, model: nn.Module, view: View) -> Front:
        """``model`` behind the convolution and its linear layer."""
        seen = view.heard(view.public)
        lift, level = torch.zeros(self.sites, 3, 3, 3), torch.zeros(self.sites)
        lift[self.site, :, 1, 1], level[self.site] = 1 / 3, LEVEL
        rows = torch.full((self.bins, self.sites * seen.shape[1]), 1 / seen.shape[1])
        cuts = thresholds(seen.mean(1) + LEVEL, self.bins)
        return Front(model, rows, -cuts, view.size, lift, level)

    def read(self, update: Mapping[str, Tensor], sent: nn.Module, view: View) -> Tensor:
        """Images [K, 1, H, W] in [0, 1] of ``site``, from its update or from the sites' sum.

        The step of the bias may be a sum over sites, so the scale of an image is told by its mean
        brightness, which lies between two thresholds.
        """
        rows = update["rows.weight"].unflatten(1, (self.sites, -1))[:, self.site]
        cuts = -sent.state_dict()["rows.bias"]
        return view.images(_scaled(rows, cuts) - LEVEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfoldingKernels:
    """The same inside a :func:`medleak.custom.small_networks.strided_cnn`: no module is added.

    The first convolution has one single-tap kernel for each place in 2 x 2 pixels, the second one
    for each of 4 x 4; the hidden layer measures the mean of these 16 channels. Ours, after LOKI.
    """

    scale: float = 1.0

    def tamper(self, model: nn.Sequential, view: View) -> nn.Sequential:
        """``model``, changed in place, with these kernels; columns of the last layer are alike."""
        first, second, hidden, last = (m for m in model if isinstance(m, nn.Conv2d | nn.Linear))
        side = view.size[0] // 4
        pixels = side * side
        with torch.no_grad():
            for layer in (first, second, hidden):
                layer.weight.zero_()
                layer.bias.zero_()  # pyright: ignore[reportOptionalMemberAccess]
            for inner in range(4):
                first.weight[inner, :, 2 + inner // 2, 2 + inner % 2] = self.scale / 3
                first.bias[inner] = self.scale * LEVEL  # pyright: ignore[reportOptionalSubscript]
                for outer in range(4):
                    second.weight[4 * inner + outer, inner, 2 + outer // 2, 2 + outer % 2] = 1.0
            hidden.weight[:, : 16 * pixels] = 1 / (16 * pixels)
            bright = view.heard(view.public).mean(1) + LEVEL
            cuts = self.scale * thresholds(bright, len(hidden.weight))
            hidden.bias.copy_(-cuts)  # pyright: ignore[reportOptionalMemberAccess]
            last.weight.copy_(last.weight[:, :1].expand_as(last.weight))
        return model

    def read(self, update: Mapping[str, Tensor], sent: nn.Module, view: View) -> Tensor:
        """Images [K, 1, H, W] in [0, 1], one a bin that anything fell into."""
        side = view.size[0] // 4
        rows = update["5.weight"][:, : 16 * side * side]
        found = between_rows(rows, update["5.bias"]) / self.scale - LEVEL
        # [K, inner y, x, outer y, x, side, side]: pixel 4 side + 2 outer + inner.
        folded = found.view(-1, 2, 2, 2, 2, side, side).permute(0, 5, 3, 1, 6, 4, 2)
        return view.images(folded.reshape(len(found), -1))


def _scaled(rows: Tensor, cuts: Tensor) -> Tensor:
    """Steps between neighbouring rows, each at the mean that its thresholds bound."""
    step = torch.cat([rows, torch.zeros_like(rows[:1])]).double().diff(dim=0)
    upper = torch.cat([cuts[1:], cuts[-1:]])
    means = step.mean(1)
    told = means.abs() > 1e-6 * means.abs().max()
    level = ((cuts + upper) / 2)[told]
    return (step[told] * (level / means[told])[:, None]).float()
