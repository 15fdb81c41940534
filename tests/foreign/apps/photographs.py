"""A small network for colour photographs without a norm layer, as in many first examples."""

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu


class PhotographNet(nn.Module):
    """Two convolutions and two linear layers; 32 x 32 pixels, ten classes."""

    def __init__(self) -> None:
        """The network has no arguments, so its class alone tells what it is."""
        super().__init__()
        self.early = nn.Conv2d(3, 6, 5)
        self.late = nn.Conv2d(6, 12, 5)
        self.hidden = nn.Linear(12 * 5 * 5, 48)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, 10] of images [B, 3, 32, 32]."""
        x = max_pool2d(relu(self.early(x)), 2)
        x = max_pool2d(relu(self.late(x)), 2)
        # Flattened by view, which a network in channels-last memory does not survive.
        return self.head(relu(self.hidden(x.view(x.size(0), -1))))
