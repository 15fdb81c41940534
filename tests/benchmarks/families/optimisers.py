"""Optimisers and schedules that sites really train with: Adam, AdamW, momentum, accumulation."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from recording import record_of_round
from torch import nn

from families.frame import Case, Client, Images, seen
from families.norms import SIZE, resnet18
from medleak.inversion.networks import build_network

_Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
_Make = Callable[[Images, int], Client]


def _client(
    images: Images,
    seed: int,
    optimizer: _Optimizer,
    *,
    n: int = 1,
    passes: int = 1,
    each: int | None = None,
    random: bool = False,
    bfloat16: bool = False,
    declared: dict[str, Any],
    accumulation: int = 1,
) -> Client:
    """``passes`` forward passes on all of ``n`` images, or one on each ``each`` of them."""
    network, model = resnet18(images)
    if random:
        torch.manual_seed(seed)
        network = build_network(model.path, model.args)
    truth, labels = images.drawn(seed, n, SIZE)
    batches = [(seen(truth), labels)] * passes
    if each is not None:
        batches = [*zip(seen(truth).split(each), labels.split(each), strict=True)]
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        record = record_of_round(
            network,
            model,
            batches,
            optimizer=optimizer(network.parameters()),
            classes=images.classes,
            accumulation=accumulation,
            declared=declared,
        )
    if passes > 1:
        epochs = {"n_images": n, "batch_size": n, "local_epochs": passes}
        record = replace(record, info=record.info.with_schedule("declared", **epochs))
    return Client(record=record, truth=truth, prior=images.prior(SIZE), labels=labels)


def adam(lr: float, n: int = 1) -> _Make:
    """One step of Adam on one batch, trained network."""
    return lambda images, seed: _client(
        images,
        seed,
        lambda p: torch.optim.Adam(p, lr=lr),
        n=n,
        declared={"optimizer": "adam"},
    )


def adamw64_3steps(images: Images, seed: int) -> Client:
    """One image, three steps of AdamW with PyTorch's decay, trained network."""
    return _client(
        images,
        seed,
        lambda p: torch.optim.AdamW(p, lr=1e-4, weight_decay=0.01),
        passes=3,
        declared={"optimizer": "adamw", "weight_decay": 0.01},
    )


def momentum3_64_random(images: Images, seed: int) -> Client:
    """One image, three steps of SGD with momentum, random weights."""
    return _client(
        images,
        seed,
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
        passes=3,
        random=True,
        declared={"optimizer": "sgd", "momentum": 0.9},
    )


def accumulate4x1_64(images: Images, seed: int) -> Client:
    """Four forward passes of one image each make one step of SGD; the site does not say so."""
    return _client(
        images,
        seed,
        lambda p: torch.optim.SGD(p, lr=0.01),
        n=4,
        each=1,
        accumulation=4,
        declared={"optimizer": "sgd"},
    )


def bf16_64(images: Images, seed: int) -> Client:
    """One image, one step of SGD in bfloat16 autocast."""
    return _client(
        images,
        seed,
        lambda p: torch.optim.SGD(p, lr=0.01),
        bfloat16=True,
        declared={"optimizer": "sgd", "precision": "bfloat16"},
    )


CASES = {
    "adam64-1e-3": Case(make=adam(1e-3), ssim=0.95, seconds=30),
    "adam64-1e-4": Case(make=adam(1e-4), ssim=0.88, seconds=30),
    "adam64-batch4": Case(make=adam(1e-3, 4), clients=3, ssim=0.85, labels=0.95, seconds=60),
    "adamw64-3steps": Case(make=adamw64_3steps, ssim=0.88, seconds=60),
    "momentum3-64-random": Case(make=momentum3_64_random, ssim=0.90),
    "accumulate4x1-64": Case(make=accumulate4x1_64, clients=3, ssim=0.85),
    "bf16-64": Case(make=bf16_64, ssim=0.93),
}
