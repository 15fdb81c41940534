"""A client that takes two steps of SGD on eight images of its own."""

from typing import Any

import nvflare.client as flare
import torch
from model import Model
from torch.nn.functional import cross_entropy


def main() -> None:
    """Train until the server has no more tasks."""
    flare.init()
    generator = torch.Generator().manual_seed(int(flare.get_site_name().rpartition("-")[2]))
    images = torch.rand(2, 4, 3, 32, 32, generator=generator)
    classes = torch.randint(10, (2, 4), generator=generator)
    network = Model()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    while flare.is_running():
        received: Any = flare.receive()
        network.load_state_dict(received.params)
        for x, y in zip(images, classes, strict=True):
            optimizer.zero_grad()
            cross_entropy(network(x), y).backward()
            optimizer.step()
        flare.send(flare.FLModel(params=network.state_dict()))


if __name__ == "__main__":
    main()
