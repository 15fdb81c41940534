"""The network of a job, beside its client, as NVFlare's examples have it."""

from torch import Tensor, nn


class Model(nn.Module):
    """Ten classes of colour images, with batch norm."""

    def __init__(self) -> None:
        """It has no arguments."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(48, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, 10] of images [B, 3, H, W]."""
        return self.layers(x)
