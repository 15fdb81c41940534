"""Tampered models: the five families, at drawn parameters and strengths, and what adapts to us."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medleak.inversion.malicious.features import before_hidden, hidden_name, invert
from medleak.inversion.malicious.fishing import Fishing
from medleak.inversion.malicious.identity_kernels import IdentityKernels, UnfoldingKernels
from medleak.inversion.malicious.imprint import Imprint
from medleak.inversion.malicious.linear import distinct, single_rows
from medleak.inversion.malicious.rescaling import Rescaling
from medleak.inversion.malicious.trap_weights import TrapWeights
from medleak.inversion.malicious.view import View

Drawn = np.random.Generator
FAMILIES = ("imprint", "identity_kernels", "trap_weights", "fishing", "rescaling")


def drawn(family: str, network: str, rng: Drawn, *, usual: bool) -> Any:
    """An attack of ``family``: as its record has it (``usual``), or with parameters drawn."""
    if family == "imprint":
        return Imprint() if usual else Imprint(bins=int(rng.integers(32, 400)))
    if family == "identity_kernels":
        if network == "strided_cnn":
            scale = 1.0 if usual else float(10 ** rng.uniform(-1, 1))
            return UnfoldingKernels(scale=scale)
        sites = 9 if usual else int(rng.integers(1, 10))
        bins = 64 if usual else int(rng.integers(32, 128))
        return IdentityKernels(bins=bins, sites=sites, site=int(rng.integers(sites)))
    share = 1 / 64 if usual else float(2 ** rng.uniform(-7, -3))
    if family == "trap_weights":
        return TrapWeights(share=share, seed=int(rng.integers(1000)))
    if family == "fishing":
        gain = 1000.0 if usual else float(10 ** rng.uniform(1.5, 4))
        return Fishing(gain=gain, first=float(rng.uniform(0.02, 0.5)), seed=int(rng.integers(1000)))
    gain = 4.0 if usual else float(2 ** rng.uniform(-2, 4))
    return Rescaling(share=share, gain=gain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """An attacker who knows the checks; acts on a `strided_cnn`, reads as `Rescaling` does.

    Attributes:
        rows: How many of the hidden layer's rows are trapped, drawn by ``seed``.
        share: Of public images that reach a trapped row.
        way: ``bias`` moves the threshold into the bias (`Rescaling` with gain 1); ``lean`` leaves
            the bias and adds to each row a little of the mean feature; ``copies`` gives the rows
            one direction with rising thresholds (an imprint inside the network) and ``noise`` on
            it, rows permuted and scaled at random; ``none`` leaves the honest model.
        noise: Of a copied row, relative to its own size.
        slow: Share of the way from the honest to the tampered hidden layer, 1 for all of it.
    """

    way: str
    rows: int = 256
    share: float = 1 / 64
    noise: float = 0.0
    seed: int = 0
    slow: float = 1.0
    chosen: list[int] = field(default_factory=list)

    def tamper(self, model: nn.Sequential, view: View) -> nn.Sequential:
        """``model``, changed in place."""
        draw = torch.Generator().manual_seed(self.seed)
        hidden = next(m for m in model if isinstance(m, nn.Linear))
        picked = torch.randperm(len(hidden.weight), generator=draw)[: self.rows]
        self.chosen[:] = picked.tolist()
        with torch.no_grad():
            seen = before_hidden(model)(view.shown(view.public))
            weight, bias = hidden.weight.clone(), hidden.bias.clone()
            getattr(self, f"_{self.way}")(weight, bias, picked, seen, draw)
            hidden.weight.lerp_(weight, self.slow)
            hidden.bias.lerp_(bias, self.slow)
        return model

    def read(self, update: dict[str, Tensor], sent: nn.Sequential, view: View) -> Tensor:
        """Images, those that most neurons agree about first."""
        name = hidden_name(sent)
        weight, bias = (update[f"{name}.{leaf}"][self.chosen] for leaf in ("weight", "bias"))
        found = distinct(single_rows(weight, bias))[0][:24]
        return invert(before_hidden(sent), found, view, iterations=100)

    def _none(self, *_: Any) -> None:
        """The honest model: what it gives away by itself."""

    def _cuts(self, reached: Tensor) -> Tensor:
        z = torch.special.ndtri(torch.tensor(1 - self.share, dtype=torch.float64)).float()
        return reached.mean(0) + reached.std(0) * z

    def _bias(self, weight: Tensor, bias: Tensor, picked: Tensor, seen: Tensor, _: Any) -> None:
        bias[picked] = -self._cuts(seen @ weight[picked].T)

    def _lean(self, weight: Tensor, bias: Tensor, picked: Tensor, seen: Tensor, _: Any) -> None:
        mean = seen.mean(0)
        cuts = self._cuts(seen @ weight[picked].T) + bias[picked]
        weight[picked] -= cuts[:, None] * mean / mean.square().sum()

    def _copies(
        self, weight: Tensor, bias: Tensor, picked: Tensor, seen: Tensor, draw: torch.Generator
    ) -> None:
        direction = seen.mean(0) / seen.mean(0).norm()
        noise = torch.randn(len(picked), len(direction), generator=draw)
        size = weight.norm(dim=1).mean()
        rows = direction + self.noise * noise / noise.norm(dim=1, keepdim=True)
        scale = size * torch.exp(0.5 * torch.randn(len(picked), 1, generator=draw))
        rows = rows / rows.norm(dim=1, keepdim=True) * scale
        reached = seen @ rows.T
        shares = torch.rand(len(picked), generator=draw) * 0.1
        z = torch.special.ndtri(1 - shares.double().clamp_min(1e-3)).float()
        weight[picked] = rows
        bias[picked] = -(reached.mean(0) + reached.std(0) * z)


def tampered(model: nn.Module, attack: Any, view: View) -> nn.Module:
    """A copy of ``model`` as ``attack`` would send it."""
    return attack.tamper(copy.deepcopy(model).train(), view)


Make = Callable[[int], nn.Module]
