"""Networks with low-rank adapters in the manner of several libraries, and without."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

ADAPTERS = ("modules", "parameters", "parametrised")


class OfModules(nn.Module):
    """A layer kept, and two beside it, as peft's."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, base.out_features, bias=False)})
        self.dropout = nn.Dropout(0.05)

    def forward(self, x: Tensor) -> Tensor:
        down, up = self.lora_A["default"], self.lora_B["default"]
        return self.base_layer(x) + 2.0 * up(down(self.dropout(x)))


class OfParameters(nn.Linear):
    """A layer with two bare parameters, as loralib's."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__(inputs, outputs)
        self.thin = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.tall = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + input @ self.thin.T @ self.tall.T


class Product(nn.Module):
    """A parametrisation of a weight."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.q = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.q @ self.p


class Adapted(nn.Module):
    """Pooled features through one adapted layer, and a head that is kept."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.early = nn.Conv2d(3, 20, 3, stride=2)
        self.middle = middle
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        features = functional.relu(self.early(x)).mean((2, 3))
        return self.head(functional.gelu(self.middle(features)))


def adapted(kind: str, *, moved: bool = False) -> nn.Module:
    """With adapters of ``kind``; ``moved``: the second factor is no longer zero."""
    torch.manual_seed(0)
    if kind == "modules":
        middle: nn.Module = OfModules(nn.Linear(20, 12), 3)
        middle.lora_B["default"].load_state_dict({"weight": torch.zeros(12, 3)})
    elif kind == "parameters":
        middle = OfParameters(20, 12, 3)
    else:
        middle = nn.Linear(20, 12)
        parametrize.register_parametrization(middle, "weight", Product(20, 12, 3))
    network = Adapted(middle)
    if moved:
        with torch.no_grad():
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.copy_(torch.randn(parameter.shape) / 4)
    return network


class Bottleneck(Adapted):
    """An adapter with a nonlinearity between its two layers (Houlsby et al. 2019)."""

    def __init__(self) -> None:
        torch.manual_seed(2)
        super().__init__(nn.Sequential(nn.Linear(20, 3), nn.ReLU(), nn.Linear(3, 12)))


class Tokens(nn.Module):
    """Four patches through two layers, pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.later, self.head = nn.Linear(48, 24), nn.Linear(24, 96), nn.Linear(96, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(x, 8)
        tiles = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(len(x), 4, 48)
        return self.head(functional.gelu(self.later(torch.tanh(self.patches(tiles)))).mean(1))
