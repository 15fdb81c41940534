"""Norms other than batch norm in training mode: group, instance, and batch norm frozen."""

from typing import Any

import torch
from recording import record_of_round
from torch import nn

from families.frame import Case, Client, Images, seen, trained
from medleak.custom.networks import load_weights
from medleak.custom.record import ModelSpec
from medleak.inversion.networks import build_network

SIZE = 64
_OURS = "medleak.custom.networks."


def resnet18(images: Images, kind: str = "resnet18") -> tuple[nn.Module, ModelSpec]:
    """The shared weights, trained a little on public images."""
    model = ModelSpec(path=f"{_OURS}{kind}", args={"num_classes": images.classes})
    network = build_network(model.path, model.args)
    if images.weights is not None:
        from safetensors.torch import load_file

        network = load_weights(network, load_file(images.weights))
    return trained(images, f"{kind}-shared", network, size=SIZE), model


def groupnorm64(images: Images, seed: int) -> Client:
    """ResNet-18 with group norm, trained."""
    network, model = resnet18(images, "resnet18_groupnorm")
    return one_image(images, seed, network, model)


def evalnorm64(images: Images, seed: int) -> Client:
    """ResNet-18 whose batch norms stay in evaluation mode, as when they are frozen."""
    network, model = resnet18(images)
    return one_image(images, seed, network, model, frozen_norms=True)


def unet64_instance(images: Images, seed: int) -> Client:
    """MONAI's U-Net with its default instance norm, first weights; masks of what is bright."""
    model = ModelSpec(
        path="monai.networks.nets.UNet",
        args={
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 2,
            "channels": [16, 32, 64, 128, 256],
            "strides": [2, 2, 2, 2],
            "num_res_units": 2,
        },
    )
    network = build_network(model.path, model.args)
    truth, _ = images.drawn(seed, 1, SIZE)
    mask = (truth[:, 0] > truth.mean()).long()
    record = record_of_round(
        network,
        model,
        [(truth, mask)],
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
        criterion="segmentation_cross_entropy",
    )
    return Client(record=record, truth=truth, prior=images.prior(SIZE))


def one_image(
    images: Images,
    seed: int,
    network: nn.Module,
    model: ModelSpec,
    size: int = SIZE,
    **more: Any,
) -> Client:
    """One step of SGD (0.01) on one gray image of ``size`` px."""
    truth, labels = images.drawn(seed, 1, size)
    torch.manual_seed(seed)  # of what the client drops at random
    record = record_of_round(
        network,
        model,
        [(seen(truth), labels)],
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
        classes=images.classes,
        **more,
    )
    return Client(record=record, truth=truth, prior=images.prior(size), labels=labels)


CASES = {
    "groupnorm64": Case(make=groupnorm64, ssim=0.90),
    "evalnorm64": Case(make=evalnorm64, ssim=0.85, seconds=30),
    "unet64-instance": Case(make=unet64_instance, ssim=0.80),
}
