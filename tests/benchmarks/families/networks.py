"""Networks beside ResNet-18: trained on public images, one gray image in one step of SGD."""

from typing import Any

from torch import nn

from families.frame import Case, Client, Images, trained
from families.norms import SIZE, one_image
from medleak.custom.record import ModelSpec
from medleak.inversion.networks import build_network


def _trained(images: Images, path: str, **args: Any) -> tuple[nn.Module, ModelSpec]:
    model = ModelSpec(path=path, args=args)
    network = build_network(path, args)
    return trained(images, path.rpartition(".")[2], network, size=SIZE), model


def densenet64(images: Images, seed: int) -> Client:
    """MONAI's DenseNet-121: each batch norm stands before a convolution, behind a concatenation."""
    path = "medleak.custom.networks.densenet121"
    return one_image(images, seed, *_trained(images, path, num_classes=images.classes))


def efficientnet64(images: Images, seed: int) -> Client:
    """torchvision's EfficientNet-B0, as it comes: stochastic depth and dropout are on."""
    path = "torchvision.models.efficientnet_b0"
    return one_image(images, seed, *_trained(images, path, num_classes=images.classes))


def resnet50_64(images: Images, seed: int) -> Client:
    """torchvision's ResNet-50."""
    path = "torchvision.models.resnet50"
    return one_image(images, seed, *_trained(images, path, num_classes=images.classes))


CASES = {
    "densenet64": Case(make=densenet64, ssim=0.90),
    "efficientnet64": Case(make=efficientnet64, ssim=0.75),
    "resnet50-64": Case(make=resnet50_64, ssim=0.95, seconds=60),
}
