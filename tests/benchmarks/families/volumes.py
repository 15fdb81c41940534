"""Volumes of 32 voxels a side in segmentation networks: batch norm and group norm."""

from typing import Any

import torch
from recording import Loss, record_of_round
from torch import Tensor, nn

from families.frame import Case, Client, Images
from medleak.custom.phantoms import listing, phantom
from medleak.custom.record import ModelSpec
from medleak.inversion.images.prior import mean_phantom
from medleak.inversion.networks import build_network

_MODALITY = "torso_ct"
_FIRST = 1000  # of the populations that are attacked; neither a prior's nor a test's
_UNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}
_SEGRESNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "init_filters": 16,
    "norm": ["group", {"num_groups": 8}],
}


def phantom_volume(seed: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """A made-up CT [1, 1, H, W, D] in [0, 1], its mask [1, H, W, D], and the mean of others."""
    size = (side, side, side)
    (item,) = listing(1, _FIRST + seed, _MODALITY)
    drawn = phantom(_MODALITY, item.image, size, _FIRST + seed)
    if drawn.mask is None:
        raise ValueError(f"Phantoms of {_MODALITY} come without masks: nothing can be segmented.")
    volume = torch.from_numpy(drawn.image.copy()).float()[None, None] / 255
    mask = torch.from_numpy(drawn.mask.copy() > 0).long()[None]
    return volume, mask, mean_phantom(_MODALITY, size, 1)


def segmented(
    network: nn.Module,
    model: ModelSpec,
    volume: Tensor,
    mask: Tensor,
    prior: Tensor,
    *,
    loss: Loss = nn.functional.cross_entropy,
    lr: float,
) -> Client:
    """A client that learnt one mask in one step of SGD."""
    record = record_of_round(
        network,
        model,
        [(volume, mask)],
        optimizer=torch.optim.SGD(network.parameters(), lr=lr),
        loss=loss,
        criterion="custom" if loss is not nn.functional.cross_entropy else _PIXELS,
    )
    return Client(record=record, truth=volume, prior=prior)


_PIXELS = "segmentation_cross_entropy"


def _one(seed: int, path: str, args: dict[str, Any]) -> Client:
    model = ModelSpec(path=path, args=args)
    torch.manual_seed(0)
    volume, mask, prior = phantom_volume(seed, 32)
    return segmented(build_network(path, args), model, volume, mask, prior, lr=0.01)


def unet3d32(images: Images, seed: int) -> Client:
    """MONAI's U-Net in three dimensions, batch norm."""
    del images
    return _one(seed, "monai.networks.nets.UNet", _UNET)


def segresnet32(images: Images, seed: int) -> Client:
    """MONAI's SegResNet, group norm."""
    del images
    return _one(seed, "monai.networks.nets.SegResNet", _SEGRESNET)


CASES = {
    "unet3d32": Case(make=unet3d32, over_prior=0.40, clients=3),
    "segresnet32": Case(make=segresnet32, over_prior=0.20, clients=3),
}
