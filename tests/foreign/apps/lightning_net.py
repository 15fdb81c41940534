"""A LightningModule around a small network with batch norm."""

import pytorch_lightning
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class LightningNet(pytorch_lightning.LightningModule):
    """Two classes of gray images of any size."""

    def __init__(self) -> None:
        """The network is an attribute, so every name in the state dict begins with it."""
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(1, 12, 3, stride=2, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, 2] of images [B, 1, H, W]."""
        return self.network(x)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        images, classes = batch
        return cross_entropy(self(images), classes)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """What the server selects its best model by."""
        images, classes = batch
        right = (self(images).argmax(1) == classes).float().mean()
        self.log("accuracy", right, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as most do."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)
