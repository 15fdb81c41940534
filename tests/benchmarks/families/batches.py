"""Batches, large images and augmented ones in ResNet-18: the clients of attacks.py and more."""

from collections.abc import Callable
from functools import cache

import clients
from augmentations import AUGMENTATIONS
from torch import Tensor

from families.frame import Case, Client, Images
from families.norms import SIZE

_LARGE = 224


@cache
def _world(images: Images, size: int) -> clients.World:
    """As attacks.py has it, so that figures of both can be compared."""
    return clients.make_world(images.data, size, images.weights)


def plain(
    n: int = 1,
    *,
    size: int = SIZE,
    batch_size: int | None = None,
    seen_as: Callable[[Tensor], Tensor] = AUGMENTATIONS["plain"],
) -> Callable[[Images, int], Client]:
    """One epoch of SGD (0.01) on ``n`` gray images, trained network.

    Args:
        n: Images of the client.
        size: Their side.
        batch_size: Images in a step; None: all.
        seen_as: What the network saw of them, which is what must come back.
    """

    def make(images: Images, seed: int) -> Client:
        world = _world(images, size)
        listed, labels = images.drawn(seed, n, size)
        truth = seen_as(listed).clamp(0, 1)
        record = clients.client_record(world, truth, labels, batch_size=batch_size)
        return Client(record=record, truth=truth, prior=world.prior, labels=labels)

    return make


CASES = {
    "single224": Case(make=plain(size=_LARGE), ssim=0.94, seconds=40),
    "batch4-224": Case(make=plain(4, size=_LARGE), ssim=0.93, seconds=150, clients=3),
    "batch8-224": Case(make=plain(8, size=_LARGE), ssim=0.88, seconds=300, clients=3),
    "batch64": Case(make=plain(64), ssim=0.89, seconds=250, clients=3),
    "steps64": Case(make=plain(64, batch_size=4), ssim=0.88, seconds=450, clients=3),
    "batch128": Case(make=plain(128), over_prior=0.20, clients=3),
    "flip64": Case(make=plain(seen_as=AUGMENTATIONS["flip"]), ssim=0.95),
    "rotate64": Case(make=plain(seen_as=AUGMENTATIONS["rotation"]), ssim=0.95),
    "crop64": Case(make=plain(seen_as=AUGMENTATIONS["crop"]), ssim=0.95),
}
