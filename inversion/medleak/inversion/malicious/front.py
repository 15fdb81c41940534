"""A module before the network, as in the papers that may change the architecture."""

import torch
from torch import Tensor, nn


class Front(nn.Module):
    """Adds to each image a whisper of what a linear layer makes of it, then runs the network.

    ``rows`` [R, D] and ``bias`` [R] of that layer are the attacker's; D is ``channels`` x H x W of
    what ``lift``, a convolution, makes of the image. Its outputs meet the image through columns
    that are all alike, so that an image's gradient is the same at each neuron it reaches.
    """

    def __init__(
        self,
        network: nn.Module,
        rows: Tensor,
        bias: Tensor,
        size: tuple[int, int],
        lift: Tensor,
        level: Tensor | None = None,
    ) -> None:
        """Take the attacker's rows; ``lift`` is the kernel [channels, 3, k, k], ``level`` its bias.

        ``size`` is (H, W).
        """
        super().__init__()
        channels, inside, width, _ = lift.shape
        self.lift = nn.Conv2d(inside, channels, width, padding=width // 2)
        self.rows = nn.Linear(rows.shape[1], len(rows))
        self.back = nn.Linear(len(rows), inside * size[0] * size[1])
        self.network = network
        generator = torch.Generator().manual_seed(0)
        column = torch.randn(self.back.out_features, 1, generator=generator)
        with torch.no_grad():
            self.lift.weight.copy_(lift)
            level = torch.zeros(channels) if level is None else level
            self.lift.bias.copy_(level)  # pyright: ignore[reportOptionalMemberAccess]
            self.rows.weight.copy_(rows)
            self.rows.bias.copy_(bias)
            self.back.weight.copy_(column.expand_as(self.back.weight) * 1e-4)
            self.back.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images [B, 3, H, W]."""
        heard = torch.relu(self.rows(self.lift(x).flatten(1)))
        return self.network(x + self.back(heard).view_as(x))


def to_gray() -> Tensor:
    """The kernel [1, 3, 1, 1] of the mean over channels."""
    return torch.full((1, 3, 1, 1), 1 / 3)
