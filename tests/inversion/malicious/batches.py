"""Made-up images that differ in brightness and shape, and the gradient of one step on them."""

import torch
from torch import Tensor, nn

from medleak.inversion.malicious.view import View

SIZE = 32


def images(count: int, seed: int) -> Tensor:
    """Smooth gray images [count, 1, 32, 32] in [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 5, 5, generator=draw)
    level = torch.rand(count, 1, 1, 1, generator=draw) * 0.5
    return nn.functional.interpolate(coarse * 0.5 + level, SIZE, mode="bicubic").clamp(0, 1)


def view() -> View:
    return View(public=images(128, 0))


def update(model: nn.Module, pixels: Tensor, seen: View) -> dict[str, Tensor]:
    labels = torch.arange(len(pixels)) % 2
    model.train().zero_grad()
    nn.functional.cross_entropy(model(seen.shown(pixels)), labels).backward()
    return {n: -0.1 * p.grad for n, p in model.named_parameters() if p.grad is not None}
