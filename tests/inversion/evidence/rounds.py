"""A client of one round, by real SGD, observed; and its evidence against images."""

import copy
import dataclasses

import torch
from torch import Tensor, nn

from medleak.custom.record import InputSpec, Manifest, ModelSpec, Record, TaskSpec, UpdateInfo
from medleak.inversion.evidence.one_round import Evidence
from medleak.inversion.evidence.several_rounds import join
from medleak.inversion.evidence.terms import Compared, Terms, terms
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.networks import build_network
from medleak.inversion.observation import Observation, observe

# At 32 px: 64 positions before layer3, 16 before layer4, so that one image leaves row spaces in
# both, two images in layer4 alone.
NETWORK = ModelSpec(
    path="monai.networks.nets.ResNet",
    args={
        "block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 72, 72],
        "spatial_dims": 2, "n_input_channels": 3, "conv1_t_size": 3, "conv1_t_stride": 1,
        "no_max_pool": True, "num_classes": 2,
    },
)  # fmt: skip


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def smooth(n: int, channels: int = 1, seed: int = 0) -> Tensor:
    coarse = torch.rand(n, channels, 6, 6, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 1)


def client(
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    lr: float = 0.01,
    statistics: bool = True,
    frozen: bool = False,
    knowledge: Knowledge | None = None,
) -> Observation:
    """Real SGD on ``images``, observed; with ``frozen`` batch norms in evaluation mode."""
    network = build_network(NETWORK.path, NETWORK.args).train()
    drawn = torch.Generator().manual_seed(0)  # whatever other tests drew before
    for module in network.modules():  # MONAI starts norms at weight 1; give them something to say.
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=drawn)
            module.train(not frozen)
    return _observed(
        network, images, labels, NETWORK, batch_size or len(images), epochs, lr,
        statistics=statistics, knowledge=knowledge,
    )  # fmt: skip


def trained_once(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    lr: float = 0.01,
    noise: float = 0.0,
    batch_size: int | None = None,
) -> Observation:
    """One epoch on ``images`` of a network that no record names, observed; noise on the update.

    It is one step, unless a smaller ``batch_size`` is given.
    """
    size = batch_size or len(images)
    return _observed(network, images, labels, None, size, 1, lr, noise=noise)


def saying(observation: Observation, **changes: object) -> Observation:
    """The same update under another declaration of the site."""
    info = observation._info.model_copy(update=changes)
    return dataclasses.replace(observation, _info=info)


def _observed(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    model: ModelSpec | None,
    size: int,
    epochs: int,
    lr: float,
    *,
    statistics: bool = True,
    knowledge: Knowledge | None = None,
    noise: float = 0.0,
) -> Observation:
    untrained = copy.deepcopy(network)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    mean, std = torch.tensor([MEAN, STD])[..., None, None]
    steps = 0
    for _ in range(epochs):
        for x, y in zip(images.split(size), labels.split(size), strict=True):
            optimizer.zero_grad()
            out = network((x.expand(-1, 3, -1, -1) - mean) / std)
            nn.functional.cross_entropy(out, y).backward()
            optimizer.step()
            steps += 1
    update = {k: v - before[k] for k, v in network.state_dict().items()}
    if noise:
        drawn = torch.Generator().manual_seed(0)
        update = {k: v + noise * torch.randn(v.shape, generator=drawn) for k, v in update.items()}
    if not statistics:
        update = {k: v for k, v in update.items() if "running" not in k}
    record = Record(
        manifest=Manifest(
            job="test", created="2026-01-01T00:00:00Z", model=model or NETWORK,
            task=TaskSpec(num_classes=2),
            input=InputSpec(
                spatial_size=(32, 32), channels=1 if images.shape[1] == 1 else 3, mean=MEAN, std=STD
            ),
        ),
        info=UpdateInfo(
            round=0, site="site-1", time="2026-01-01T00:00:00Z", n_images=len(images),
            n_steps=steps, batch_size=size, local_epochs=epochs, lr=lr or 1.0,
        ),
        global_state={k: v.numpy() for k, v in before.items()},
        update={k: v.numpy() for k, v in update.items()},
    )  # fmt: skip
    return observe(record, knowledge or Knowledge(), network=None if model else untrained)


def compare(evidence: Evidence, images: Tensor) -> Terms:
    """All norms and all row spaces."""
    everywhere = Compared(norms=evidence.norms, spans=tuple(evidence.spans))
    return terms(join([evidence]), images, everywhere)
