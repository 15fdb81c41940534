"""Networks that the jobs train: factories that a record names by way of `medleak.custom.networks`.

A record may name any function of this module, so none of them reads files or imports by name.
"""

import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from monai.networks.nets.densenet import DenseNet, DenseNet121
from monai.networks.nets.torchvision_fc import TorchVisionFCModel
from monai.networks.nets.unet import UNet
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


def resnet18(num_classes: int = 2, seed: int = 0) -> TorchVisionFCModel:
    """MONAI's ResNet-18 with random weights, deterministic by ``seed``.

    Takes images [B, 3, H, W] in model units, H and W at least 33, and returns logits
    [B, num_classes]. ``pool=None`` keeps torchvision's adaptive pooling: MONAI's own 7x7 pooling
    fails below 224 px.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TorchVisionFCModel("resnet18", num_classes=num_classes, pool=None)


def resnet18_groupnorm(num_classes: int = 2, seed: int = 0) -> TorchVisionFCModel:
    """:func:`resnet18` with every batch norm replaced by group norm: what DP-SGD can train.

    Batch norm mixes the images of a batch, so that no clipping of one image's gradient bounds what
    that image does. Groups as in Opacus' ``ModuleValidator.fix``: gcd(32, channels) (Wu & He 2018,
    arXiv:1803.08494v3). Parameters keep their names and values; there are no buffers.
    """
    return _with_group_norm(resnet18(num_classes, seed))


def resnet18_cifar(num_classes: int = 2, seed: int = 0) -> TorchVisionFCModel:
    """:func:`resnet18` for 32 px: the first convolution is 3x3 of stride 1, no pooling follows.

    At 32 px the plain network ends in one pixel, of which batch norm has no variance when the batch
    is one image. As in arXiv:1512.03385v1, section 4.2, and in the code of arXiv:2003.14053v2.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TorchVisionFCModel("resnet18", num_classes=num_classes, pool=None)
        features = network.get_submodule("features")
        features.add_module("conv1", nn.Conv2d(3, 64, 3, padding=1, bias=False))
        features.add_module("maxpool", nn.Identity())
        return network


def densenet121(num_classes: int = 2, seed: int = 0) -> DenseNet:
    """MONAI's DenseNet-121 (arXiv:1608.06993v5) with random weights, deterministic by ``seed``.

    Takes images [B, 3, H, W] in model units, H and W at least 64, and returns logits
    [B, num_classes]. Batch norm stands before each convolution, not after it as in ResNet-18.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DenseNet121(spatial_dims=2, in_channels=3, out_channels=num_classes)


def densenet121_groupnorm(num_classes: int = 2, seed: int = 0) -> DenseNet:
    """:func:`densenet121` with group norm instead of batch norm, as :func:`resnet18_groupnorm`."""
    return _with_group_norm(densenet121(num_classes, seed))


def unet(
    num_classes: int = 2,
    norm: Literal["batch", "instance", "group"] = "batch",
    channels: Sequence[int] = (16, 32, 64, 128),
    seed: int = 0,
) -> UNet:
    """MONAI's residual U-Net for masks, with random weights, deterministic by ``seed``.

    Takes images [B, 3, H, W] in model units, H and W multiples of ``2 ** (len(channels) - 1)``,
    and returns logits [B, num_classes, H, W].

    Args:
        num_classes: Kinds of pixels, background included.
        norm: ``batch`` sends statistics of the images with each update; ``instance`` has none to
            send; ``group`` neither, groups as in :func:`resnet18_groupnorm`.
        channels: Of each level, the finest first, at least two.
        seed: Of the weights.

    Raises:
        ValueError: ``norm`` is none of these.
    """
    if norm not in ("batch", "instance", "group"):
        raise ValueError(f"norm must be batch, instance or group, got {norm!r}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet(
            spatial_dims=2,
            in_channels=3,
            out_channels=num_classes,
            channels=tuple(channels),
            strides=(2,) * (len(channels) - 1),
            num_res_units=1,
            norm=("instance", {"affine": True}) if norm == "instance" else "batch",
        )
        return _with_group_norm(network) if norm == "group" else network


def _with_group_norm(network: _Network) -> _Network:
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, _group_norm(layer))
    return network


def _group_norm(layer: nn.BatchNorm2d) -> nn.GroupNorm:
    channels = layer.num_features
    replaced = nn.GroupNorm(math.gcd(32, channels), channels, eps=layer.eps)
    replaced.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    return replaced
