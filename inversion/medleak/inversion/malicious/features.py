"""From the features of the first layers back to the image: what is read is often not yet pixels."""

import torch
from torch import Tensor, nn

from medleak.inversion.malicious.view import View


def invert(layers: nn.Module, features: Tensor, view: View, *, iterations: int = 150) -> Tensor:
    """Images [K, 1, H, W] in [0, 1] whose ``layers`` give ``features`` [K, D].

    L-BFGS on the pixels from the mean of the public images, with the squared error relative to the
    features' own size, so that all images weigh alike.
    """
    mean = view.public.mean(0, keepdim=True)
    pixels = mean.repeat(len(features), 1, 1, 1).requires_grad_()
    size = features.square().mean(1, keepdim=True).clamp_min(1e-12)
    optimizer = torch.optim.LBFGS(
        [pixels], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        seen = layers(view.shown(pixels)).flatten(1)
        loss = ((seen - features).square() / size).mean(1).sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return pixels.detach().clamp(0, 1)


def before_hidden(model: nn.Module) -> nn.Sequential:
    """The layers of a small network up to its hidden linear layer, that one left out.

    Raises:
        ValueError: ``model`` is no sequence of layers.
    """
    if not isinstance(model, nn.Sequential):
        raise ValueError(
            f"The layers of a {type(model).__name__} have no plain order, so its features cannot "
            "be inverted here: use a sequential network, or an attack on one image."
        )
    place = next(i for i, m in enumerate(model) if isinstance(m, nn.Linear))
    return model[:place]


def hidden_name(model: nn.Module) -> str:
    """Name of the first linear layer."""
    return next(n for n, m in model.named_modules() if isinstance(m, nn.Linear))
