"""A client that sends whole weights after two epochs of SGD with momentum, and says no word of it.

It knows nothing of medleak. The images are noise, of each site its own.
"""

import argparse
from typing import Any

import nvflare.client as flare
import torch
from photographs import PhotographNet
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    """Train until the server has no more tasks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()

    flare.init()
    seed = int(flare.get_site_name().rpartition("-")[2])
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(arguments.images, 3, 32, 32, generator=generator)
    classes = torch.randint(10, (arguments.images,), generator=generator)
    loader = DataLoader(TensorDataset((images - 0.5) / 0.5, classes), batch_size=4, shuffle=True)

    network = PhotographNet()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    while flare.is_running():
        received: Any = flare.receive()
        network.load_state_dict(received.params)
        for _ in range(arguments.epochs):
            for x, y in loader:
                optimizer.zero_grad()
                cross_entropy(network(x), y).backward()
                optimizer.step()
        steps = arguments.epochs * len(loader)
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        flare.send(flare.FLModel(params=state, meta={"NUM_STEPS_CURRENT_ROUND": steps}))


if __name__ == "__main__":
    main()
