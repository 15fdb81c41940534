"""A small vision transformer of transformers, made from a configuration: nothing is fetched."""

from typing import Any

import torch
from transformers import (  # pyright: ignore[reportMissingImports]
    ViTConfig,
    ViTForImageClassification,
)


class Classifier(torch.nn.Module):
    """Two classes of gray images of 32 x 32 pixels, in 16 patches."""

    def __init__(self, width: int = 96) -> None:
        """``width`` of the tokens."""
        super().__init__()
        config = ViTConfig(
            image_size=32,
            patch_size=8,
            num_channels=1,
            hidden_size=width,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=width,
            num_labels=2,
        )
        self.model = ViTForImageClassification(config)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        """Loss, where there are labels, and logits, by name."""
        return self.model(pixel_values=pixel_values, labels=labels)
