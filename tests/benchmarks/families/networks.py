"""Networks beside ResNet-18: trained on public images, one gray image in one step of SGD."""

from typing import Any

from torch import nn

from families.frame import Case, Client, Images, trained
from families.norms import SIZE, one_image
from medleak.custom.record import ModelSpec
from medleak.inversion.networks import build_network


def _trained(
    images: Images, path: str, *, epochs: int = 2, lr: float = 0.01, **args: Any
) -> tuple[nn.Module, ModelSpec]:
    model = ModelSpec(path=path, args=args)
    network = build_network(path, args)
    name = path.rpartition(".")[2]
    return trained(images, name, network, size=SIZE, epochs=epochs, lr=lr), model


def densenet64(images: Images, seed: int) -> Client:
    """MONAI's DenseNet-121: each batch norm stands before a convolution, behind a concatenation."""
    path = "medleak.custom.networks.densenet121"
    return one_image(images, seed, *_trained(images, path, num_classes=images.classes))


def efficientnet64(images: Images, seed: int) -> Client:
    """torchvision's EfficientNet-B0, as it comes: stochastic depth and dropout are on."""
    path = "torchvision.models.efficientnet_b0"
    return one_image(images, seed, *_trained(images, path, num_classes=images.classes))


def resnet50_64(images: Images, seed: int) -> Client:
    """torchvision's ResNet-50, trained gently.

    At a rate of 0.01 it is so sure of some images that float32 holds no gradient of theirs.
    """
    path, args = "torchvision.models.resnet50", {"num_classes": images.classes}
    return one_image(images, seed, *_trained(images, path, epochs=1, lr=0.003, **args))


CASES = {
    "densenet64": Case(make=densenet64, ssim=0.90),
    "efficientnet64": Case(make=efficientnet64, ssim=0.75),
    "resnet50-64": Case(make=resnet50_64, ssim=0.95, seconds=60),
}
