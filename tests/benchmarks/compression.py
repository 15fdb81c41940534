"""What is left of a ResNet-18's files in a record that is compressed without loss.

The update is one SGD step on four random images of 224 px, from random weights, plain and behind
filters.

    python tests/benchmarks/compression.py
"""

import time

import torch

from medleak.custom.networks import resnet18
from medleak.custom.record.compression import compress
from medleak.custom.record.tensors import State, as_arrays, chunks_of
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence

DEFENCES = (
    "percentile_gaussian:sigma0=10",
    "quantisation:bits=8",
    "top_k:fraction=0.1",
    "random_k:fraction=0.1",
    "sign",
)


def tell(name: str, state: State) -> None:
    """Print the size of a file, the share that is left of it, and the seconds that it took."""
    pieces = chunks_of(as_arrays(name, state))
    size = sum(memoryview(piece).nbytes for piece in pieces)
    start = time.process_time()
    left = sum(map(len, compress(pieces)))
    seconds = time.process_time() - start
    print(f"{name:30} {size / 1e6:6.1f} MB  {left / size:.3f}  {seconds:.2f} CPU s")


def main() -> None:
    """Print a line a file."""
    torch.manual_seed(0)
    network = resnet18(num_classes=2).train()
    sent = {k: v.numpy().copy() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    loss = torch.nn.functional.cross_entropy(
        network(torch.rand(4, 3, 224, 224)), torch.tensor([0, 1, 0, 1])
    )
    loss.backward()
    optimizer.step()
    update = {k: v.numpy() - sent[k] for k, v in network.state_dict().items()}
    tell("model", sent)
    tell("update", update)
    for spec in DEFENCES:
        rng = NoiseSource.seeded(0, 0, "site-1", spec)
        tell(spec, defence(spec)(update, rng=rng, global_state=sent))


if __name__ == "__main__":
    main()
