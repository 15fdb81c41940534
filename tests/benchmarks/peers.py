"""Other programs on the clients that ours attacks: one image, one step, ResNet-18 at 64 px.

Install the peers first, beside medleak or with their sources on the path::

    python tests/benchmarks/peers.py --peers breaching:invertinggradients,leakpro --seconds 300

Each gets the update as recorded, and its label, with its published settings. These take thousands
of iterations: as many are made as the seconds allow, and schedules are those of that many. What is
printed is what its own loss calls the best. Our `row_space` goes first, on the same clients.
"""

import argparse
import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from clients import DataSet, client_record, make_world, parser_of
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from medleak.inversion.attacks import row_space
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import psnr, ssim
from medleak.inversion.observation import Observation, observe

_SIZE = 64
_TIMED = 20  # iterations that tell how long one takes

Peer = Callable[[Observation, Tensor, float, str], tuple[Tensor, int]]
"""(client, labels, seconds, preset) -> (image [1, 3, H, W] in model units, iterations)."""


def by_breaching(
    client: Observation, labels: Tensor, seconds: float, preset: str
) -> tuple[Tensor, int]:
    """An optimisation attack of breaching, under one of its presets."""
    breaching = importlib.import_module("breaching")
    network = client.network().train()
    gradients = [-client.parameter_update[n] / client.lr for n, _ in network.named_parameters()]
    setup = {"dtype": torch.float, "device": torch.device("cpu")}
    shape = (3, *client.spatial_size)
    metadata = SimpleNamespace(shape=shape, mean=client.mean, std=client.std, modality="vision")
    # Neither side's buffers: the client trained on its batch's own statistics.
    payload = {"parameters": list(network.parameters()), "buffers": None, "metadata": metadata}
    known = {"num_data_points": 1, "labels": labels, "local_hyperparams": None}
    shared = {"gradients": gradients, "buffers": None, "metadata": known}

    def attack(iterations: int) -> Tensor:
        config = breaching.get_attack_config(preset, [f"optim.max_iterations={iterations}"])
        attacker = breaching.attacks.prepare_attack(network, nn.CrossEntropyLoss(), config, setup)
        found, _ = attacker.reconstruct([payload], [shared], {})
        return found["data"].detach()

    asked = int(breaching.get_attack_config(preset).optim.max_iterations)
    iterations = _affordable(attack, seconds, asked)
    return attack(iterations), iterations


def by_leakpro(
    client: Observation, labels: Tensor, seconds: float, preset: str
) -> tuple[Tensor, int]:
    """LeakPro's InvertingGradients against the recorded update, with the client's batch norm."""
    module = importlib.import_module("leakpro.attacks.gia_attacks.invertinggradients")
    shape = (1, 3, *client.spatial_size)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (client.mean, client.std))
    loader = DataLoader(TensorDataset(torch.zeros(shape), labels), batch_size=1)

    def attack(iterations: int) -> Tensor:
        config = module.InvertingConfig(at_iterations=iterations)
        network = client.network()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # it makes folders
            attacker = module.InvertingGradients(network, loader, mean, std, configs=config)
        attacker.prepare_attack()
        # It would train the client by itself, with norms in evaluation mode.
        attacker.model.train()
        for norm in attacker.model.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
        attacker.client_gradient = [
            client.parameter_update[n] for n, _ in network.named_parameters()
        ]
        results: Iterator[Any] = attacker.run_attack()
        # At its end it looks for the best against the truth, which is not here.
        with contextlib.suppress(AttributeError, RuntimeError, ValueError, ZeroDivisionError):
            for _ in results:
                pass
        if attacker.best_reconstruction_round is None:
            raise RuntimeError("LeakPro's attack ended before its first iteration: see its log.")
        return attacker.best_reconstruction.dataset.reconstruction.detach()

    del preset
    iterations = _affordable(attack, seconds, module.InvertingConfig().at_iterations)
    return attack(iterations), iterations


PEERS: dict[str, Peer] = {"breaching": by_breaching, "leakpro": by_leakpro}


def _affordable(attack: Callable[[int], Tensor], seconds: float, asked: int) -> int:
    begin = time.process_time()
    attack(_TIMED)
    return min(asked, int(seconds / (time.process_time() - begin) * _TIMED))


def main() -> int:
    """Parse, attack, print."""
    parser: argparse.ArgumentParser = parser_of(__doc__)
    parser.add_argument("--peers", default="breaching:invertinggradients,leakpro")
    parser.add_argument("--seconds", type=float, default=300.0, help="CPU, a client and peer")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    weights = arguments.weights if arguments.weights.is_file() else None
    world = make_world(DataSet.open(arguments.data), _SIZE, weights)
    rows = []
    for k in range(arguments.seed, arguments.seed + arguments.clients):
        truth, labels = world.images("report", k, 1)
        client = observe(client_record(world, truth, labels), Knowledge())
        for name in ("row_space", *arguments.peers.split(",")):
            torch.manual_seed(k)
            begin = time.process_time()
            if name == "row_space":
                generator = torch.Generator().manual_seed(k)
                found = row_space.run(
                    row_space.RowSpace(), client, world.prior, generator=generator
                )
                gray, iterations = found.images, found.iterations
            else:
                peer, _, preset = name.partition(":")
                pixels, iterations = PEERS[peer](client, labels, arguments.seconds, preset)
                mean, std = (torch.tensor(v).view(3, 1, 1) for v in (client.mean, client.std))
                gray = (pixels * std + mean).clamp(0, 1).mean(1, keepdim=True)
            row = {
                "client": k,
                "program": name,
                "ssim": float(ssim(gray, truth)),
                "psnr": float(psnr(gray, truth)),
                "prior": float(ssim(world.prior, truth)),
                "iterations": iterations,
                "cpu_seconds": time.process_time() - begin,
            }
            print(row, flush=True)
            rows.append(row)
            if arguments.json:
                arguments.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
