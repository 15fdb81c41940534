"""512 features of an image, in which near means alike to a network: for IIP and t-SNE."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD, network_input

FEATURES = 512
MIN_SIDE_PX = 128
"""Smaller images are enlarged to this: below, the last stage of a ResNet-18 sees 2 x 2 cells."""

IMAGENET = "imagenet"
_IMAGES_AT_ONCE = 32
_DIGITS = 12
_OUR_PREFIX = "features."  # MONAI's TorchVisionFCModel, which our jobs train, wraps torchvision's


class EmbeddingError(ValueError):
    """There is no embedding network; an audit goes on without IIP and says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A ResNet-18 without its head.

    Attributes:
        name: Source and the first digits of the weights' SHA-256: part of every result.
        body: The network, in evaluation mode, on the device where it computes.
    """

    name: str
    body: nn.Module

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features [N, 512] float32 on the CPU, not normalised, of images [N, C, H, W] in [0, 1].

        C is 1 (repeated three times) or 3, on any device; ImageNet's mean and std are applied.

        Raises:
            ValueError: Another shape.
        """
        device = next(self.body.parameters()).device
        found = [torch.empty(0, FEATURES)]
        for part in images.split(_IMAGES_AT_ONCE):
            x = network_input(part.to(device).float(), IMAGENET_MEAN, IMAGENET_STD)
            found.append(self.body(_enlarged(x)).cpu())
        return torch.cat(found)


def load_embedding(source: str | None = None, device: str | torch.device = "cpu") -> Embedding:
    """The embedding network that ``source`` names.

    Nothing is ever downloaded: an audit may run where records are, without a network.

    Args:
        source: A file with the weights of a ResNet-18 (.safetensors, or a torch file of plain
            tensors; names as torchvision's or as our jobs record them), or ``imagenet``. None:
            ``imagenet``.
        device: Where to compute.

    Raises:
        EmbeddingError: ImageNet weights are not in torch's cache; the file is missing, cannot be
            read safely, or holds another architecture.
    """
    path = _imagenet_file() if source in (None, IMAGENET) else Path(str(source)).expanduser()
    label = IMAGENET if source in (None, IMAGENET) else path.name
    state = _read(path)
    body = _resnet18(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS]
    return Embedding(f"resnet18 {label} sha256:{digest}", body.to(device))


def _imagenet_file() -> Path:
    from torchvision.models import ResNet18_Weights

    name = ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise EmbeddingError(
            f"ImageNet weights of ResNet-18 are not in torch's cache ({name}), and audits download "
            "nothing: IIP cannot be computed. Put the file there, or name one with --embedding."
        )
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        why = "it does not exist"
    except (SafetensorError, OSError, EOFError) as error:
        why = f"it cannot be read ({' '.join(str(error).split())})"
    except Exception as error:  # UnpicklingError and kin: what is not plain tensors is refused
        why = f"it holds more than tensors, and loading it could run code ({type(error).__name__})"
    else:
        state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
        if isinstance(state, dict) and all(isinstance(v, Tensor) for v in state.values()):
            return state
        why = "it is no table of tensors by name"
    raise EmbeddingError(
        f"Embedding {str(path)!r}: {why}. Name a .safetensors file with the weights of a ResNet-18."
    )


def _resnet18(state: dict[str, Tensor], path: Path) -> nn.Module:
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):
        body = resnet18(weights=None)
    body.add_module("fc", nn.Identity())
    own = body.state_dict()
    given = {name.removeprefix(_OUR_PREFIX): value for name, value in state.items()}
    misfits = [n for n in own if n not in given or given[n].shape != own[n].shape]
    unknown = [n for n in given if n not in own and not n.startswith("fc.")]
    if misfits or unknown:
        n = (misfits or unknown)[0]
        what = "is not part of one" if not misfits else "is missing or has another shape"
        raise EmbeddingError(
            f"Embedding {str(path)!r} is no ResNet-18: tensor {n!r} {what} ({len(misfits)} missing "
            f"or misshapen, {len(unknown)} unknown). Its features would mean something else."
        )
    body.load_state_dict({name: given[name] for name in own})
    return body.eval().requires_grad_(False)


def _enlarged(x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    if min(height, width) >= MIN_SIDE_PX:
        return x
    factor = MIN_SIDE_PX / min(height, width)
    size = (round(height * factor), round(width * factor))
    return nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
