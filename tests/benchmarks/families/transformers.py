"""Transformers: ViT-B/16 at 224 px, UNETR on a volume of 96 voxels a side, Swin at 64 px."""

from functools import partial
from typing import Any

import torch
from monai.losses.dice import DiceCELoss
from recording import record_of_round
from torch import Tensor, nn

from families.frame import Case, Client, Images, seen
from families.norms import SIZE, one_image
from families.volumes import phantom_volume, segmented
from medleak.custom.record import ModelSpec
from medleak.inversion.networks import build_network

_VIT = "torchvision.models.vit_b_16"
_CONVNEXT = "torchvision.models.convnext_tiny"
_SWIN = "torchvision.models.swin_t"
_SWINUNETR = {"in_channels": 1, "out_channels": 2, "feature_size": 24, "spatial_dims": 2}
_UNETR = {
    "in_channels": 1,
    "out_channels": 2,
    "img_size": [96, 96, 96],
    "feature_size": 16,
    "hidden_size": 768,
    "mlp_dim": 3072,
    "num_heads": 12,
    "norm_name": "instance",
}


def _vit(images: Images) -> tuple[nn.Module, ModelSpec]:
    """Random weights, and a head that is not zero: a first step from zeros carries nothing."""
    args = {"num_classes": images.classes}
    network = build_network(_VIT, args)
    torch.manual_seed(0)
    head: Any = network.get_submodule("heads.head")
    nn.init.trunc_normal_(head.weight, std=0.02)
    return network, ModelSpec(path=_VIT, args=args)


def _step(images: Images, seed: int, n: int, *, adam: bool = False) -> Client:
    pixels, labels = images.drawn(seed, n, 224)
    network, model = _vit(images)
    optimizer: torch.optim.Optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    declared: dict[str, Any] = {}
    if adam:
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
        declared = {"optimizer": "adam"}
    record = record_of_round(
        network,
        model,
        [(seen(pixels), labels)],
        optimizer=optimizer,
        declared=declared,
        classes=images.classes,
    )
    return Client(record=record, truth=pixels, prior=images.prior(224), labels=labels)


def vit224(images: Images, seed: int) -> Client:
    """One gray image in one step of SGD."""
    return _step(images, seed, 1)


def vit224_adam(images: Images, seed: int) -> Client:
    """One gray image in a first step of Adam."""
    return _step(images, seed, 1, adam=True)


def vit224_batch2(images: Images, seed: int) -> Client:
    """Two gray images in one step of SGD."""
    return _step(images, seed, 2)


def unetr96(images: Images, seed: int) -> Client:
    """A made-up CT volume in one step of SGD, Dice and cross-entropy."""
    del images
    volume, mask, prior = phantom_volume(seed, 96)
    model = ModelSpec(path="monai.networks.nets.UNETR", args=_UNETR)
    torch.manual_seed(0)
    network = build_network(model.path, model.args)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)

    def dice(output: Tensor, target: Tensor) -> Tensor:
        return loss(output, target[:, None])

    return segmented(network, model, volume, mask, prior, loss=dice, lr=0.01)


def swin64(images: Images, seed: int) -> Client:
    """One gray image of 64 px in torchvision's Swin-T as it comes, random weights."""
    args = {"num_classes": images.classes}
    torch.manual_seed(0)
    return one_image(images, seed, build_network(_SWIN, args), ModelSpec(path=_SWIN, args=args))


def convnext(images: Images, seed: int, size: int) -> Client:
    """One gray image in torchvision's ConvNeXt-T, random weights; no branch is skipped."""
    args = {"num_classes": images.classes, "stochastic_depth_prob": 0.0}
    torch.manual_seed(0)
    network = build_network(_CONVNEXT, args)
    return one_image(images, seed, network, ModelSpec(path=_CONVNEXT, args=args), size)


def swinunetr64(images: Images, seed: int) -> Client:
    """MONAI's SwinUNETR in two dimensions, random weights; masks of what is bright."""
    model = ModelSpec(path="monai.networks.nets.SwinUNETR", args=_SWINUNETR)
    torch.manual_seed(0)
    network = build_network(model.path, model.args)
    truth, _ = images.drawn(seed, 1, SIZE)
    mask = (truth[:, 0] > truth.mean()).long()
    return segmented(network, model, truth, mask, images.prior(SIZE), lr=0.01)


CASES = {
    "vit224": Case(make=vit224, ssim=0.98, seconds=3),
    "vit224-adam": Case(make=vit224_adam),
    "vit224-batch2": Case(make=vit224_batch2, over_prior=0.20, seconds=300, clients=3),
    "unetr96": Case(make=unetr96, psnr=35, seconds=10, clients=3),
    "swin64": Case(make=swin64, clients=3),
    "convnext32": Case(make=partial(convnext, size=32), clients=3),
    "convnext64": Case(make=partial(convnext, size=64), clients=3),
    "swinunetr64": Case(make=swinunetr64, clients=3),
}
