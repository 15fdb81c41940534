"""Networks that the jobs train, and where their first weights come from."""

import math
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.torchvision_fc import TorchVisionFCModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medleak.custom.environment import WEIGHTS_VARIABLE, path_variable


class WeightsError(ValueError):
    """Initial weights that cannot be had or do not fit; the message says why."""


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
    network = resnet18(num_classes, seed)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, _group_norm(layer))
    return network


def initial_resnet18(num_classes: int = 2, weights: str = "auto", seed: int = 0) -> nn.Module:
    """The ResNet-18 that a federation starts from; for the server's model persistor.

    Args:
        num_classes: Outputs of the new head; the head is random unless the file's fits.
        weights: ``random``; ``imagenet`` (torchvision's, needs a network once); the path of a
            file (see :func:`load_weights`); ``auto``: the file in ``MEDLEAK_WEIGHTS`` if that is
            set, else random.
        seed: Of everything random here.

    Raises:
        WeightsError: See :func:`load_weights`; ImageNet weights cannot be downloaded.
    """
    return _with_weights(resnet18(num_classes, seed), weights)


def initial_resnet18_groupnorm(
    num_classes: int = 2, weights: str = "auto", seed: int = 0
) -> nn.Module:
    """The :func:`resnet18_groupnorm` that a federation starts from; see :func:`initial_resnet18`.

    Weights of a batch-norm ResNet-18 are converted: all weights, affine ones included, are taken
    over by name; running statistics have no counterpart and are left out.
    """
    return _with_weights(resnet18_groupnorm(num_classes, seed), weights)


def load_weights(
    network: nn.Module, state: dict[str, Tensor], source: str = "the given weights"
) -> nn.Module:
    """Copy ``state`` into ``network``, by torchvision's parameter names or by its own.

    A head of another size is left out; everything else must be there and fit.

    Raises:
        WeightsError: A tensor of the body is missing or has another shape.
    """
    own = network.state_dict()
    given = {name if name in own else f"features.{name}": value for name, value in state.items()}
    usable = {n: v for n, v in given.items() if n in own and v.shape == own[n].shape}
    missing = [n for n in own if n not in usable and not n.startswith("fc.")]
    if missing:
        n = missing[0]
        what = f"has shape {tuple(given[n].shape)}" if n in given else "is missing"
        raise WeightsError(
            f"{source} do not fit the network: {n!r} {what}, needed {tuple(own[n].shape)} "
            f"({len(missing)} tensors in all). Give weights of a ResNet-18."
        )
    network.load_state_dict({**own, **usable})
    return network


def _group_norm(layer: nn.BatchNorm2d) -> nn.GroupNorm:
    channels = layer.num_features
    replaced = nn.GroupNorm(math.gcd(32, channels), channels, eps=layer.eps)
    replaced.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    return replaced


def _with_weights(network: nn.Module, weights: str) -> nn.Module:
    if weights == "auto":
        weights = str(path_variable(WEIGHTS_VARIABLE) or "random")
    if weights == "imagenet":
        return load_weights(network, _imagenet())
    if weights != "random":
        return load_weights(network, _read(Path(weights).expanduser()), source=weights)
    return network


def _imagenet() -> dict[str, Tensor]:
    from torchvision.models import ResNet18_Weights

    try:
        return dict(ResNet18_Weights.DEFAULT.get_state_dict(progress=False, check_hash=True))
    except OSError as error:  # URLError is one
        raise WeightsError(
            f"ImageNet weights cannot be downloaded ({error}). Download resnet18 from torchvision "
            f"elsewhere and name the file in {WEIGHTS_VARIABLE}, or use weights=random."
        ) from None


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict from ``.safetensors``, or from a torch file without running its pickle."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(
            f"Initial weights {path} do not exist. Check {WEIGHTS_VARIABLE}."
        ) from None
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise WeightsError(f"{path} holds no weights that can be read safely ({error}).") from None
    except Exception as error:  # UnpicklingError and kin: what is not plain tensors is refused
        raise WeightsError(
            f"{path} holds more than tensors, and loading it could run code "
            f"({type(error).__name__}). Save its state_dict as .safetensors."
        ) from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state_dict (name to tensor).")
    return state
