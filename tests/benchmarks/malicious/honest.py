"""Honest settings: every false alarm of the sentinel is looked for here."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from malicious.federation import Setting
from medleak.custom import networks, small_networks

SIZE = 32


def batch_norm_cnn(seed: int = 0) -> nn.Sequential:
    """Two convolutions with batch norm, average pooling and the outputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 2),
        )


SMALL: dict[str, Callable[[int], nn.Module]] = {
    "strided_cnn": lambda seed: small_networks.strided_cnn(2, SIZE, seed=seed),
    "batch_norm_cnn": batch_norm_cnn,
    "cnn4": lambda seed: small_networks.cnn4(2, SIZE, seed=seed),
}
LARGE: dict[str, Callable[[int], nn.Module]] = {
    "resnet18": lambda seed: networks.resnet18(2, seed=seed),
    "resnet18_groupnorm": lambda seed: networks.resnet18_groupnorm(2, seed=seed),
}
# What medleak policy --epsilon 8 --rounds 30 writes.
_EPSILON_8 = "clipped_gaussian:max_grad_norm=1,noise_multiplier=6.575"
_PLAIN = Setting(name="fedavg-sgd")
NINE = ((8, 4), (8, 4), (16, 4), (64, 4), (8, 8), (8, 8), (16, 8), (64, 8), (1, 1))
"""Images and batch of nine sites: those of `make demo`, in a round of 1 to 16 steps."""
SETTINGS = (
    _PLAIN,
    replace(_PLAIN, name="fedavg-sgd-trained", trained=True),
    replace(_PLAIN, name="fedavg-2-sites", sites=2, lr=0.05),
    replace(_PLAIN, name="fedavg-20-sites", sites=20, steps=1),
    replace(_PLAIN, name="nine-sites-of-few", few=NINE, lr=0.01),
    replace(_PLAIN, name="nine-sites-of-few-adam", few=NINE, optimizer="adam", lr=1e-3),
    replace(_PLAIN, name="few-among-many", few=((1, 1), (2, 1), (2, 2), (64, 4), (64, 4))),
    replace(_PLAIN, name="small-among-large", steps=1, more=30),
    replace(_PLAIN, name="small-among-large-trained", steps=1, batch=1, more=30, trained=True),
    replace(_PLAIN, name="fedavg-adam", optimizer="adam", lr=1e-3),
    replace(_PLAIN, name="fedavg-adam-trained", optimizer="adam", lr=1e-3, trained=True),
    replace(_PLAIN, name="fedprox", proximal=1.0, momentum=0.9, lr=0.01),
    replace(_PLAIN, name="fedopt-momentum", server="momentum", lr=0.01),
    replace(_PLAIN, name="fedopt-adam", server="adam", server_lr=0.01),
    replace(_PLAIN, name="percentile-1", defence="percentile_gaussian:sigma0=1"),
    replace(_PLAIN, name="percentile-group", defence="percentile_gaussian:sigma0=1,scope=group"),
    replace(
        _PLAIN, name="clipped", defence="clipped_gaussian:max_grad_norm=1,noise_multiplier=0.1"
    ),
    replace(_PLAIN, name="clipped-epsilon-8", defence=_EPSILON_8),
    replace(_PLAIN, name="laplace", defence="laplace_perturbation:scale=0.0001"),
    replace(_PLAIN, name="top-k", defence="top_k:fraction=0.1"),
    replace(_PLAIN, name="quantisation", defence="quantisation:bits=8"),
    replace(_PLAIN, name="withhold", defence="withhold"),
)


def cases(rounds: int) -> Iterator[tuple[str, Callable[[int], nn.Module], Setting, int]]:
    """Network by name, its factory, setting and number of rounds; ``rounds`` in all, about."""
    each = max(2, rounds // (len(SMALL) * len(SETTINGS)))
    for name, make in SMALL.items():
        for setting in SETTINGS:
            yield name, make, setting, each
