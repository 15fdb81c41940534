"""From a PyTorch model and an update in memory to images: no record, no files, no federation."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    Record,
    TaskSpec,
    UpdateInfo,
    begun_now,
    utc_now,
)
from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.client.labels import head
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.observation import Observation, observe
from medleak.inversion.reconstruction import Reconstruction

_SITE = "in-memory"


def reconstruct(
    model: nn.Module,
    update: Mapping[str, Tensor],
    *,
    spatial_size: tuple[int, ...],
    n_images: int = 1,
    channels: int = 1,
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    std: tuple[float, ...] = (1.0, 1.0, 1.0),
    prior: Tensor | None = None,
    attack: RowSpace | None = None,
    lr: float = 1.0,
    seed: int = 0,
) -> Reconstruction:
    """Turn one local step's update of ``model`` back into its images.

    An update is local - global; of a gradient g it is -g (``lr=1``), as here, where two steps of
    an attack are enough to show the call:

    >>> import torch
    >>> from medleak.custom.networks import resnet18
    >>> from medleak.inversion import RowSpace, reconstruct
    >>> model, x = resnet18(num_classes=2), torch.rand(1, 3, 64, 64)
    >>> loss = torch.nn.functional.cross_entropy(model(x), torch.tensor([1]))
    >>> loss.backward()
    >>> update = {name: -p.grad for name, p in model.named_parameters()}
    >>> found = reconstruct(model, update, spatial_size=(64, 64), channels=3,
    ...                     attack=RowSpace(seconds=0.5, attempts=1))
    >>> found.images.shape, found.labels.tolist()
    (torch.Size([1, 3, 64, 64]), [1])

    Args:
        model: With the weights that the step started from, and running statistics from before it;
            copied, not changed.
        update: By name as in ``state_dict()``; every parameter, and the running statistics where
            the attacker sees them (then ``num_batches_tracked`` too, 1 for one step).
        spatial_size: (H, W) of an image, (H, W, D) of a volume.
        n_images: In the step's batch.
        channels: Of an image, 1 or 3; a gray one is repeated for the network.
        mean: Normalisation (x - mean) / std of pixels in [0, 1], one value a network channel.
        std: Likewise, positive.
        prior: [1, channels, H, W] in [0, 1], a mean image of the kind; None for mid-gray.
        attack: Settings; None for the usual ones.
        lr: Learning rate of the step. Labels of several images need it.
        seed: Of the attack's starts.

    Returns:
        Images [N, C, *size] in [0, 1], labels where they can be read, and whether the attack knows
        that it failed (``stuck``).

    Raises:
        ValueError: The update lacks a parameter or misshapes it, or holds nothing that this attack
            can use. That is no evidence of safety.
    """
    observation = observe_update(
        model,
        update,
        spatial_size=spatial_size,
        n_images=n_images,
        channels=channels,
        mean=mean,
        std=std,
        lr=lr,
    )
    generator = torch.Generator().manual_seed(seed)
    return run(attack or RowSpace(), observation, prior, generator=generator)


def observe_update(
    model: nn.Module,
    update: Mapping[str, Tensor],
    *,
    spatial_size: tuple[int, ...],
    n_images: int = 1,
    channels: int = 1,
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    std: tuple[float, ...] = (1.0, 1.0, 1.0),
    lr: float = 1.0,
    knowledge: Knowledge | None = None,
) -> Observation:
    """What an attacker sees of one step's update of ``model``, for any attack's ``run``.

    Arguments and errors as `reconstruct`; ``knowledge`` None: all but the labels.
    """
    kind = type(model)
    manifest = Manifest(
        job=_SITE,
        created=begun_now(),
        model=ModelSpec(path=f"{kind.__module__}.{kind.__qualname__}"),
        task=TaskSpec(num_classes=_outputs(model)),
        input=InputSpec.model_validate(
            {"spatial_size": spatial_size, "channels": channels, "mean": mean, "std": std}
        ),
    )
    info = UpdateInfo(
        round=0,
        site=_SITE,
        time=utc_now(),
        n_images=n_images,
        n_steps=1,
        batch_size=n_images,
        local_epochs=1,
        lr=lr,
    )
    arrays = {n: t.detach().cpu().numpy() for n, t in update.items()}
    state = {n: t.detach().cpu().numpy() for n, t in model.state_dict().items()}
    record = Record(manifest, info, state, arrays)
    device = next(model.parameters()).device
    return observe(record, knowledge or Knowledge(), device=device, network=model)


def _outputs(model: nn.Module) -> int:
    """Classes that the last linear layer tells apart; 2 without one, where nothing reads them."""
    try:
        linear = model.get_submodule(head(model))
    except ValueError:
        return 2
    return linear.out_features if isinstance(linear, nn.Linear) else 2
