"""A client of MONAI that segments volumes of four channels, one volume a step, with Adam.

Each volume is noise with a bright ball in it, which is to be found.
"""

from typing import Any

import nvflare.client as flare
import torch
from monai.losses.dice import DiceCELoss
from monai.networks.nets.segresnet import SegResNet
from torch import Tensor

NETWORK = {
    "spatial_dims": 3,
    "init_filters": 8,
    "in_channels": 4,
    "out_channels": 2,
    "blocks_down": [1, 1],
    "blocks_up": [1],
}
SIZE = 16


def volumes(seed: int, count: int) -> list[tuple[Tensor, Tensor]]:
    """``count`` volumes [1, 4, S, S, S] with the voxels [1, 1, S, S, S] of their balls."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*[torch.arange(SIZE)] * 3, indexing="ij"))
    found = []
    for _ in range(count):
        center = torch.randint(4, SIZE - 4, (3, 1, 1, 1), generator=generator)
        ball = ((grid - center).square().sum(0) < 12).float()[None, None]
        noise = torch.randn(1, 4, SIZE, SIZE, SIZE, generator=generator)
        found.append((noise + 3 * ball, ball))
    return found


def main() -> None:
    """Train until the server has no more tasks."""
    flare.init()
    seed = int(flare.get_site_name().rpartition("-")[2])
    pairs = volumes(seed, 2)
    network = SegResNet(**NETWORK)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    while flare.is_running():
        received: Any = flare.receive()
        network.load_state_dict(received.params)
        for image, ball in pairs:
            optimizer.zero_grad()
            loss(network(image), ball).backward()
            optimizer.step()
        steps = {"NUM_STEPS_CURRENT_ROUND": len(pairs)}
        flare.send(flare.FLModel(params=network.cpu().state_dict(), meta=steps))


if __name__ == "__main__":
    main()
