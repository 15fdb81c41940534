"""LPIPS, a learned distance between images, for the extra ``medleak[lpips]``."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medleak.inversion.measures.similarity import as_channels

ALEXNET = "alexnet"
"""The trunk in torch's cache, by name."""

MIN_SIDE_PX = 32
"""Of smaller images AlexNet's last pooling leaves nothing."""

_IMAGES_AT_ONCE = 64
_DIGITS = 12


class PerceptualError(ValueError):
    """LPIPS cannot be computed on this machine; the message says what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Perceptual:
    """LPIPS 0.1 on AlexNet.

    Attributes:
        name: Trunk and the first digits of its SHA-256.
        network: ``lpips.LPIPS``, in evaluation mode.
    """

    name: str
    network: nn.Module

    @torch.no_grad()
    def __call__(self, truth: Tensor, image: Tensor) -> Tensor:
        """Distance of each pair: float64 [N] on the CPU, from 0 (the same) upwards.

        Args:
            truth: [N, C, H, W] in [0, 1], C of 1 (repeated three times) or 3, H and W at least 32.
            image: Same shape.

        Raises:
            ValueError: Other shapes.

        Source: Zhang et al. 2018, arXiv:1801.03924v2.
        """
        if truth.shape != image.shape or truth.ndim != 4 or min(truth.shape[2:]) < MIN_SIDE_PX:
            raise ValueError(
                f"LPIPS compares two [N, C, H, W] of the same shape, H and W at least "
                f"{MIN_SIDE_PX}, not {tuple(truth.shape)} and {tuple(image.shape)}."
            )
        device = next(self.network.parameters()).device
        pairs = zip(truth.split(_IMAGES_AT_ONCE), image.split(_IMAGES_AT_ONCE), strict=True)
        found = [self.network(_signed(a, device), _signed(b, device)).flatten() for a, b in pairs]
        return torch.cat(found).double().cpu()


def load_perceptual(
    source: str | Path | None = None, device: str | torch.device = "cpu"
) -> Perceptual:
    """LPIPS with the trunk in the file ``source``; nothing is downloaded.

    Args:
        source: torchvision's weights of AlexNet. `ALEXNET` or None: that file in torch's cache.
        device: Where to compute.

    Raises:
        PerceptualError: The package is not installed, or the trunk is missing or another network.
    """
    try:
        import lpips  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise PerceptualError(
            "LPIPS is an extra, and its package is not installed: pip install 'medleak[lpips]'."
        ) from None
    path = _cached() if source in (None, ALEXNET) else Path(str(source)).expanduser()
    try:
        data = path.read_bytes()
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise PerceptualError(f"Trunk {str(path)!r} cannot be read ({error.strerror}).") from None
    except Exception as error:  # UnpicklingError and kin: what is not plain tensors is refused
        raise PerceptualError(
            f"Trunk {str(path)!r} holds more than tensors ({type(error).__name__}). Give "
            "torchvision's weights of AlexNet."
        ) from None
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # lpips uses torchvision's old spelling
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    _load_trunk(network, state, path)
    digest = hashlib.sha256(data).hexdigest()[:_DIGITS]
    return Perceptual(f"lpips 0.1 alexnet sha256:{digest}", network.eval().to(device))


def _cached() -> Path:
    from torchvision.models import AlexNet_Weights

    name = AlexNet_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise PerceptualError(
            f"LPIPS needs torchvision's weights of AlexNet, and {name} is not in torch's cache; "
            "audits download nothing. Put the file there, or give its path."
        )
    return path


def _load_trunk(network: Any, state: Any, path: Path) -> None:
    """lpips cuts AlexNet's ``features`` into slices, and keeps the layers' numbers."""
    given = state if isinstance(state, dict) else {}
    own = network.net.state_dict()
    names = {name: f"features.{name.partition('.')[2]}" for name in own}
    for name, wanted in names.items():
        if wanted not in given or given[wanted].shape != own[name].shape:
            raise PerceptualError(
                f"Trunk {str(path)!r} is no AlexNet: {wanted!r} is missing or has another shape."
            )
    network.net.load_state_dict({name: given[wanted] for name, wanted in names.items()})


def _signed(images: Tensor, device: torch.device) -> Tensor:
    """LPIPS takes three channels in [-1, 1]."""
    return 2 * as_channels(images.to(device).float().clamp(0, 1), 3) - 1
