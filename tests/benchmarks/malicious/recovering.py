"""What malicious servers recover from honest sites' batches; which X-rays they are tried on."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from clients import DataSet, load
from torch import Tensor, nn

from medleak.custom.networks import resnet18, resnet18_groupnorm
from medleak.custom.small_networks import strided_cnn
from medleak.inversion import RowSpace, reconstruct
from medleak.inversion.malicious.fishing import Fishing
from medleak.inversion.malicious.identity_kernels import IdentityKernels, UnfoldingKernels
from medleak.inversion.malicious.imprint import Imprint
from medleak.inversion.malicious.rescaling import Rescaling
from medleak.inversion.malicious.trap_weights import TrapWeights
from medleak.inversion.malicious.view import IMAGENET, View
from medleak.inversion.measures.similarity import assign, ssim


@dataclass(frozen=True, slots=True)
class Images:
    """X-rays of one size: those a server has, and those of the sites."""

    view: View
    pixels: Tensor
    labels: Tensor

    @classmethod
    def of(cls, data: DataSet, size: int, public: int, own: int) -> "Images":
        """``public`` images of that split, ``own`` of the report split, drawn by a fixed seed."""
        pixels, _ = _drawn(data, "public", size, public)
        mine, labels = _drawn(data, "report", size, own)
        return cls(View(public=pixels), mine, labels)


def _drawn(data: DataSet, split: Any, size: int, count: int) -> tuple[Tensor, Tensor]:
    files = data.files(split)
    order = np.random.default_rng(1).permutation(len(files))[:count]
    return torch.stack([load(files[i][0], size) for i in order]), torch.tensor(
        [files[i][1] for i in order]
    )


def gradient(model: nn.Module, shown: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Minus the gradient of one step on the whole batch: the update, up to the learning rate."""
    model.train().zero_grad()
    nn.functional.cross_entropy(model(shown), labels).backward()
    return {n: -p.grad for n, p in model.named_parameters() if p.grad is not None}


def attacks(images: Images) -> Iterator[dict[str, Any]]:
    """What each attack reads, undefended: of one site, and of the sum over nine."""
    plain: dict[str, Any] = {"strided_cnn": strided_cnn, "resnet18": resnet18}
    for network, make in plain.items():
        for batch in (8, 64):
            records: list[Any] = [Imprint(), IdentityKernels(), TrapWeights(share=1 / batch)]
            if network == "strided_cnn":
                records += [UnfoldingKernels(), Rescaling(share=1 / batch), Fishing()]
            for attack in records:
                begun = time.process_time()
                found = _read(attack, make, images, batch, 1)
                yield {
                    **named(attack),
                    "network": network,
                    "batch": batch,
                    **recovered(found, images.pixels[:batch]),
                    "seconds": round(time.process_time() - begun, 1),
                }
        for attack in (Imprint(bins=512), IdentityKernels(bins=512, sites=9), TrapWeights()):
            found = _read(attack, make, images, 64, 9)
            yield {
                **named(attack),
                "network": network,
                "batch": 64,
                "summed": 9,
                **recovered(found, images.pixels[:64]),
            }


def _read(attack: Any, make: Any, images: Images, batch: int, sites: int) -> Tensor:
    """Images that ``attack`` reads from the sum of ``sites`` batches; the first one is looked at.

    Of `IdentityKernels` each site is sent a model of its own.
    """
    shown = images.view.shown(images.pixels)
    if isinstance(attack, Fishing):
        sent, updates = make(), []
        for round in range(attack.rounds):
            sent = attack.tamper(make(), images.view, round)
            updates.append(gradient(sent, shown[:batch], images.labels[:batch]))
        return attack.read(updates, sent, images.view)
    sent: Any = None
    total: dict[str, Tensor] = {}
    for site in range(sites):
        mine = attack
        if isinstance(attack, IdentityKernels) and sites > 1:
            mine = IdentityKernels(bins=attack.bins, sites=sites, site=site)
        model = mine.tamper(make(), images.view)
        sent = model if site == 0 else sent
        part = slice(site * batch, (site + 1) * batch)
        update = gradient(model, shown[part], images.labels[part])
        total = {n: total[n] + u for n, u in update.items()} if total else update
    return attack.read(total, sent, images.view)


def fishing(images: Images, count: int) -> Iterator[dict[str, Any]]:
    """One image in 64, of a ResNet-18 with group norm: fished, then read by our own attack.

    Rounds between whose cuts exactly one image lies are taken, the first ``count`` of them.
    """
    shown, labels = images.view.shown(images.pixels[:64]), images.labels[:64]
    prior, attack, before = images.view.public.mean(0, keepdim=True), Fishing(), None
    for round in range(attack.rounds):
        sent = attack.tamper(resnet18_groupnorm(2).train(), images.view, round)
        with torch.no_grad():
            above = sent(shown)[:, attack.target] > 0
        update = gradient(sent, shown, labels)
        if before is not None and count and int((above != before[0]).sum()) == 1:
            count -= 1
            caught = images.pixels[:64][above != before[0]]
            alone = {n: before[1][n] - (0 if n.startswith("fc.") else u) for n, u in update.items()}
            begun = time.process_time()
            found = reconstruct(
                sent,
                alone,
                spatial_size=images.view.size,
                mean=IMAGENET[0],
                std=IMAGENET[1],
                prior=prior,
                attack=RowSpace(seconds=40),
            )
            yield {
                "attack": "Fishing",
                "network": "resnet18_groupnorm",
                "ssim": _round_to(ssim(caught, found.images)),
                "prior": _round_to(ssim(caught, prior)),
                "stuck": found.stuck,
                "seconds": int(time.process_time() - begun),
            }
        before = (above, update)


def _round_to(value: Tensor) -> float:
    """Three digits of one number."""
    return float(f"{float(value):.3f}")


def recovered(found: Tensor, truth: Tensor) -> dict[str, Any]:
    """How many of ``truth`` came back, by the SSIM of the best assignment."""
    if not len(found):
        return {"found_90": 0, "found_70": 0, "of": len(truth), "best8": 0.0}
    values = assign(found.contiguous(), truth).ssim.sort(descending=True).values
    best = torch.cat([values, torch.zeros(8)])[:8]
    return {
        "found_90": int((values >= 0.9).sum()),
        "found_70": int((values >= 0.7).sum()),
        "of": len(truth),
        "best8": round(float(best.mean()), 3),
    }


def named(attack: Any) -> dict[str, Any]:
    """The attack and its settings, for a row."""
    fields = {k: v for k, v in asdict(attack).items() if k != "chosen"}
    return {"attack": type(attack).__name__, "settings": fields}
