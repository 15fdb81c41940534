"""A client in memory: real SGD on given images, shown to an attacker."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from medleak.custom.record import InputSpec, Manifest, ModelSpec, Record, TaskSpec, UpdateInfo
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.losses import Criterion, task_loss
from medleak.inversion.networks import build_network
from medleak.inversion.observation import Observation, observe

LENET = ModelSpec(path="medleak.custom.small_networks.lenet", args={"spatial_size": 16})
RESNET = ModelSpec(
    path="monai.networks.nets.ResNet",
    args={
        "block": "basic",
        "layers": [1, 1, 1, 1],
        "block_inplanes": [64, 64, 64, 64],
        "spatial_dims": 2,
        "n_input_channels": 3,
        "conv1_t_size": 7,
        "conv1_t_stride": 1,
        "no_max_pool": True,
        "num_classes": 2,
    },
)
PREFIXES = ("medleak.custom.small_networks.", "monai.networks.nets.", "torchvision.models.")
Observe = Callable[..., Observation]


@pytest.fixture
def lenet_spec() -> ModelSpec:
    return LENET


@pytest.fixture
def resnet_spec() -> ModelSpec:
    return RESNET


@pytest.fixture
def smooth_images() -> Callable[..., Tensor]:
    """Images [N, C, S, S] in [0, 1] without grain, as small radiographs are."""

    def make(n: int = 1, channels: int = 1, size: int = 16, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(n, channels, 4, 4, generator=generator)
        return torch.nn.functional.interpolate(
            coarse, size=(size, size), mode="bicubic", align_corners=False
        ).clamp(0, 1)

    return make


@pytest.fixture
def observed() -> Observe:
    """Train one client on ``images`` for real, and observe its update."""

    def make(
        images: Tensor,
        labels: Tensor,
        model: ModelSpec = LENET,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        lr: float = 0.1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        criterion: Criterion = "cross_entropy",
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
        knowledge: Knowledge | None = None,
        change: Callable[[str, Tensor], Tensor] | None = None,
        drift: float = 0.0,
        awake: bool = False,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        **network: Any,
    ) -> Observation:
        model = ModelSpec(path=model.path, args={**model.args, **network})
        # An unlucky draw of networks as small as these cannot be inverted.
        local = build_network(model.path, model.args, allowed_prefixes=PREFIXES, seed=5).train()
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for p in local.parameters():  # a global model that is not the factory's
                p.add_(drift * p.std() * torch.randn(p.shape, generator=noise) if drift else 0)
                if awake and not p.any():  # as after training: no head of zeros
                    p.normal_(0, 0.02, generator=noise)
        before = {n: v.clone() for n, v in local.state_dict().items()}
        local = local.to(dtype)
        knowledge = knowledge or Knowledge()
        per_channel = torch.tensor([mean, std])[..., None, None]
        optimizer = torch.optim.SGD(
            local.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay
        )
        batch_size, steps = batch_size or len(images), 0
        for _ in range(epochs):
            for batch in torch.arange(len(images)).split(batch_size):
                x = images[batch].expand(-1, 3, -1, -1).to(dtype)
                optimizer.zero_grad()
                logits = local((x - per_channel[0]) / per_channel[1])
                task_loss(criterion, logits, labels[batch]).backward()
                optimizer.step()
                steps += 1
        update = {n: (v - before[n]).to(before[n].dtype) for n, v in local.state_dict().items()}
        if change:
            update = {n: change(n, v) for n, v in update.items()}
        channels = images.shape[1]
        assert channels in (1, 3)
        record = Record(
            manifest=Manifest(
                job="test",
                created="2026-01-01T00:00:00Z",
                model=model,
                task=TaskSpec(
                    criterion=criterion, num_classes=int(model.args.get("num_classes", 2))
                ),
                input=InputSpec(
                    spatial_size=(images.shape[2], images.shape[3]),
                    channels=channels,
                    mean=mean,
                    std=std,
                ),
            ),
            info=UpdateInfo(
                round=0,
                site="site-1",
                time="2026-01-01T00:00:00Z",
                n_images=len(images),
                n_steps=steps,
                batch_size=batch_size,
                local_epochs=epochs,
                lr=lr,
                momentum=momentum,
                weight_decay=weight_decay,
            ),
            global_state={n: v.numpy() for n, v in before.items()},
            update={n: v.numpy() for n, v in update.items()},
        )
        known = labels if knowledge.labels == "known" else None
        return observe(record, knowledge, labels=known, device=device, allowed_prefixes=PREFIXES)

    return make
