"""Small transformers as different libraries write them, and the update of a step on one image."""

from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from monai.networks.nets.vit import ViT
from torch import Tensor, nn


class Timm(nn.Module):
    """As timm writes them: registers, embeddings that class tokens share or do not, a norm."""

    def __init__(self, *, registers: int = 4, shared: bool = True, norm: bool = False) -> None:
        super().__init__()
        self.registers, self.shared = registers, shared
        self.proj = nn.Conv2d(3, 48, 4, stride=4)
        self.norm = nn.LayerNorm(48) if norm else nn.Identity()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 48) * 0.02)
        self.reg_token = nn.Parameter(torch.randn(1, registers, 48) * 0.02)
        count = 16 + (1 + registers if shared else 0)
        self.pos_embed = nn.Parameter(torch.randn(1, count, 48) * 0.02)
        self.block = nn.TransformerEncoderLayer(48, 4, 96, 0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(48, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.proj(x).flatten(2).transpose(1, 2))
        extra = torch.cat([self.cls_token, self.reg_token], 1).expand(len(x), -1, -1)
        if self.shared:
            x = torch.cat([extra, x], 1) + self.pos_embed
        else:
            x = torch.cat([extra, x + self.pos_embed], 1)
        return self.head(self.block(x)[:, 0])


class OnAGrid(nn.Module):
    """The embedding has the shape of the feature map, as in Swin's absolute embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 48, 4, stride=4)
        self.pos = nn.Parameter(torch.randn(1, 48, 4, 4) * 0.02)
        self.block = nn.TransformerEncoderLayer(48, 4, 96, 0.0, batch_first=True)
        self.head = nn.Linear(48, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x) + self.pos
        return self.head(self.block(x.flatten(2).transpose(1, 2)).mean(1))


def monai_vit(**changes) -> ViT:
    """MONAI's, with one output value a class."""
    arguments: dict[str, Any] = {
        "in_channels": 3,
        "img_size": (16, 16),
        "patch_size": 4,
        "hidden_size": 48,
        "mlp_dim": 96,
        "num_layers": 1,
        "num_heads": 4,
        "spatial_dims": 2,
        "classification": True,
    }
    return ViT(**arguments | changes)


def torchvision_vit(**changes) -> torchvision.models.VisionTransformer:
    """torchvision's, whose head starts at zero."""
    arguments: dict[str, Any] = {
        "image_size": 16,
        "patch_size": 4,
        "num_layers": 1,
        "num_heads": 4,
        "hidden_dim": 48,
        "mlp_dim": 96,
        "num_classes": 2,
    }
    return torchvision.models.VisionTransformer(**arguments | changes)


def awake(network: nn.Module, seed: int = 0) -> nn.Module:
    """``network`` in evaluation mode, without a parameter that is all zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def update_of(network: nn.Module, inputs: Tensor, lr: float = 0.1) -> dict[str, Tensor]:
    """local - global of one float32 step of SGD on ``inputs``, by parameter."""
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    output = network(inputs)
    output = output[0] if isinstance(output, tuple) else output
    labels = torch.arange(len(inputs)) % 2
    network.zero_grad()
    nn.functional.cross_entropy(output, labels).backward()
    torch.optim.SGD(network.parameters(), lr=lr).step()
    return {name: p.detach() - before[name] for name, p in network.named_parameters()}


def variance_of(network: nn.Module, name: str) -> Tensor:
    """Of the rounding of each entry; ``network`` is the one after the step."""
    after = network.get_parameter(name).detach().abs()
    return (torch.nextafter(after, torch.full_like(after, torch.inf)) - after) ** 2 / 12


def pixels(shape: Sequence[int], seed: int = 0) -> Tensor:
    """A smooth image [1, *shape] in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, shape[0], *[4] * (len(shape) - 1), generator=generator)
    mode = "bicubic" if len(shape) == 3 else "trilinear"
    smooth = nn.functional.interpolate(coarse, size=tuple(shape[1:]), mode=mode)
    return (smooth + 0.05 * torch.rand(smooth.shape, generator=generator)).clamp(0, 1)
