"""What a malicious server knows of a site's images: their normalisation, and public ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class View:
    """Gray images, of which the network sees (x - mean) / std, one value for each of 3 channels.

    ``public``: images [N, 1, H, W] in [0, 1] of the same kind that are not the site's.
    """

    public: Tensor
    mean: Sequence[float] = IMAGENET[0]
    std: Sequence[float] = IMAGENET[1]

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        return int(self.public.shape[-2]), int(self.public.shape[-1])

    def shown(self, images: Tensor) -> Tensor:
        """What the network sees [B, 3, H, W] of images [B, 1, H, W] in [0, 1]."""
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (images - mean) / std

    def heard(self, images: Tensor) -> Tensor:
        """Mean over channels of :meth:`shown`, flat: [B, H * W]."""
        return self.shown(images).mean(1).flatten(1)

    def images(self, heard: Tensor) -> Tensor:
        """Images [K, 1, H, W] in [0, 1] of means over channels [K, H * W]."""
        std = torch.tensor(self.std, dtype=torch.float64)
        scale = float((1 / std).mean())
        level = float((torch.tensor(self.mean, dtype=torch.float64) / std).mean())
        return ((heard + level) / scale).view(-1, 1, *self.size).clamp(0, 1)
