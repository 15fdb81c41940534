"""What the recorder costs a server: seconds a round of nine ResNet-18 sites, share, memory.

Run it by hand, on an idle machine: ``python tests/benchmarks/recorder.py --json figures.json``.
Targets: 3 s a round of nine ResNet-18 sites; of a made update of 1 GB (``--gigabytes 1``, 250
million numbers), at most 1.3 GB more than the server holds without a recorder; at most 5 % of a
round of NVFlare's hello-pt and brats18. Exit code 1 if one is missed. ``--big`` is how large the
made model is, in GB; 0 leaves it out. ``--sites 100`` is a round of so many ResNet-18 sites, each
update made when it is its turn: seconds, the length of a round of which they are 5 %, and memory.

A share is of a round in which two sites at a time train, one core each: the recorder's seconds for
both over those and one site's training. hello-pt's network (two convolutions, three linear layers,
62,006 numbers) is trained by SGD on ``--images`` made images of 32 px, in batches of 16; brats18's
(MONAI's SegResNet, 4.7 million numbers) by Adam on Dice loss and ``--volumes`` made crops of four
channels and 64 voxels a side, one a step, as its own code does it on 224 x 224 x 144. Reading and
augmenting images, validation, starting NVFlare, sending and averaging, all of which make a round
longer, are not in it.

The recorder is called as NVFlare's server calls it: with the task's data as it goes out, and each
result as it comes. Seconds are of the wall clock, with every ``fsync``; the median over the rounds.
Memory is the process's peak (``VmHWM``, set back before) over what it held when model and updates
were there and the recorder was not yet called; Linux only.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext, FLContextManager
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants

from medleak.custom.flare.recorder import UpdateRecorder

SITES, MAX_SECONDS, MAX_RATIO, MAX_SHARE = 9, 3.0, 1.3, 0.05
HP = {"n_images": 4, "n_steps": 1, "batch_size": 4, "local_epochs": 1, "lr": 0.01}

State = Mapping[str, np.ndarray]


class Server:
    """As much of NVFlare's server as the recorder asks for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._recorder = UpdateRecorder()
        self._recorder.handle_event(EventType.START_RUN, self._context("server"))

    def send(self, round: int, site: str, task: Shareable) -> None:
        """A model goes out."""
        context = self._context(site)
        task.set_header(AppConstants.CURRENT_ROUND, round)
        context.set_prop(FLContextKey.TASK_DATA, task, private=True, sticky=False)
        self._recorder.handle_event(EventType.AFTER_TASK_DATA_FILTER, context)

    def receive(self, round: int, site: str, result: Shareable) -> None:
        """An update comes."""
        result.add_cookie(AppConstants.CONTRIBUTION_ROUND, round)
        self._recorder.process(result, self._context(site))

    def _context(self, site: str) -> FLContext:
        workspace = SimpleNamespace(get_run_dir=lambda _: str(self._folder))
        engine = SimpleNamespace(get_workspace=lambda: workspace, fire_event=lambda *_: None)
        manager = FLContextManager(engine=engine, identity_name="server", job_id="benchmark")
        context, peer = manager.new_context(), FLContext()
        peer.set_prop(ReservedKey.IDENTITY_NAME, site, private=False, sticky=False)
        context.set_peer_context(peer)
        context.set_prop(FLContextKey.TASK_NAME, "train", private=True, sticky=False)
        return context


def made(kind: str, data: State) -> Shareable:
    """A task or a result, as NVFlare carries it."""
    meta = {} if kind == DataKind.WEIGHTS else {"hp": HP}
    return DXO(kind, data=dict(data), meta=meta).to_shareable()


def seconds_a_round(state: State, rounds: int) -> tuple[float, float]:
    """What the recorder takes of a round of nine sites, the median: by the clock, of the CPU."""
    sites = [f"site-{n}" for n in range(SITES)]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        server = Server(Path(folder))
        found = [round_of(server, round, sites, state) for round in range(rounds)]
    clock, cpu = map(statistics.median, zip(*found, strict=True))
    return clock, cpu


def round_of(server: Server, round: int, sites: Sequence[str], state: State) -> tuple[float, float]:
    """Seconds that the recorder takes of a round: by the clock, of the CPU."""
    tasks = [made(DataKind.WEIGHTS, state) for _ in sites]
    results = [made(DataKind.WEIGHT_DIFF, state) for _ in sites]
    started = time.perf_counter(), time.process_time()
    for site, task in zip(sites, tasks, strict=True):
        server.send(round, site, task)
    for site, result in zip(sites, results, strict=True):
        server.receive(round, site, result)
    return time.perf_counter() - started[0], time.process_time() - started[1]


def many_sites(state: State, sites: int) -> dict[str, float]:
    """What the recorder takes of one round of ``sites``: seconds, and memory in models."""
    seconds = 0.0
    model = made(DataKind.WEIGHTS, state)
    update = made(DataKind.WEIGHT_DIFF, state)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        server = Server(Path(folder))
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = _status("VmRSS")
        for n in range(sites):
            started = time.perf_counter()
            server.send(0, f"site-{n}", model)
            server.receive(0, f"site-{n}", update)
            seconds += time.perf_counter() - started
        more = _status("VmHWM") - before
    return {
        "sites": sites,
        "clock_of_a_round_of_many": round(seconds, 1),
        "shortest_round_for_5_percent": round(seconds / MAX_SHARE, 1),
        "memory_of_many_in_models": round(more / sum(v.nbytes for v in state.values()), 3),
    }


def hello_pt() -> Any:
    """A network of the shape of NVFlare's hello-pt."""
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def share_of_hello_pt(images: int, rounds: int) -> float:
    """Of a round of hello-pt with two sites, the median."""
    import torch

    torch.set_num_threads(1)
    network = hello_pt()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.rand(images, 3, 32, 32), torch.randint(0, 10, (images,))
    batches = [(x[k : k + 16], y[k : k + 16]) for k in range(0, images, 16)]
    return share_of_a_round(network, optimizer, torch.nn.CrossEntropyLoss(), batches, rounds)


def share_of_brats18(volumes: int, rounds: int) -> float:
    """Of a round of brats18 with two sites, the median."""
    import torch
    from monai.losses.dice import DiceLoss
    from monai.networks.nets.segresnet import SegResNet

    torch.set_num_threads(1)
    network = SegResNet(
        blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1), init_filters=16, in_channels=4,
        out_channels=3, dropout_prob=0.2,
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-5)
    loss = DiceLoss(smooth_nr=0, smooth_dr=1e-5, squared_pred=True, sigmoid=True)
    volume, mask = torch.randn(1, 4, 64, 64, 64), (torch.rand(1, 3, 64, 64, 64) > 0.5).float()
    return share_of_a_round(network, optimizer, loss, [(volume, mask)] * volumes, rounds)


def share_of_a_round(
    network: Any, optimizer: Any, loss: Any, batches: Sequence[tuple[Any, Any]], rounds: int
) -> float:
    """The recorder's part of a round of two sites, the median."""
    found = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        server = Server(Path(folder))
        for round in range(rounds):
            started = time.perf_counter()
            for x, y in batches:
                optimizer.zero_grad()
                loss(network(x), y).backward()
                optimizer.step()
            trained = time.perf_counter() - started
            state = {k: v.numpy().copy() for k, v in network.state_dict().items()}
            recorded = round_of(server, round, ["site-1", "site-2"], state)[0]
            found.append(recorded / (recorded + trained))
    return statistics.median(found)


def memory_ratio(numbers: int, kind: str) -> float:
    """What recording one round of one site needs beside model and update, in updates."""
    rng = np.random.default_rng(0)
    size = max(1, numbers // 16)
    state = {f"layer{n}.weight": rng.random(size, np.float32) for n in range(16)}
    update = {n: v * np.float32(0.01) for n, v in state.items()}
    if kind == DataKind.WEIGHTS:
        update = {n: state[n] + v for n, v in update.items()}
    task, result = made(DataKind.WEIGHTS, state), made(kind, update)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        server = Server(Path(folder))
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = _status("VmRSS")
        server.send(0, "site-0", task)
        server.receive(0, "site-0", result)
        return (_status("VmHWM") - before) / (4 * 16 * size)


def _status(field: str) -> int:
    """Bytes of this process, of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}.")


def main() -> None:
    """Measure, print, and end with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--big", type=float, default=1.0, help="GB of the made update; 0: none")
    parser.add_argument("--sites", type=int, default=0, help="of a round of many; 0: none")
    parser.add_argument("--images", type=int, default=10_000, help="of hello-pt; 0: none")
    parser.add_argument("--volumes", type=int, default=4, help="of brats18; 0: none")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    if args.big:
        for kind in (DataKind.WEIGHT_DIFF, DataKind.WEIGHTS):
            ratio = memory_ratio(int(args.big * 1e9 / 4), kind)
            found[f"memory_in_updates_{getattr(kind, 'value', kind)}"] = round(ratio, 3)
    if args.rounds:
        from medleak.custom.networks import resnet18

        state = {k: v.numpy() for k, v in resnet18().state_dict().items()}
        found["megabytes_an_update"] = sum(v.nbytes for v in state.values()) / 1e6
        clock, cpu = seconds_a_round(state, args.rounds)
        found["seconds_a_round_of_nine"] = round(clock, 3)
        found["cpu_of_a_round_of_nine"] = round(cpu, 3)
        if args.sites:
            found |= many_sites(state, args.sites)
    if args.images:
        share = share_of_hello_pt(args.images, max(1, args.rounds))
        found["share_of_a_round_of_hello_pt"] = round(share, 4)
    if args.volumes:
        share = share_of_brats18(args.volumes, min(3, max(1, args.rounds)))
        found["share_of_a_round_of_brats18"] = round(share, 4)
    found["missed"] = [
        name
        for name, value in found.items()
        if (name.startswith("memory") and value > MAX_RATIO)
        or (name.startswith("seconds") and value > MAX_SECONDS)
        or (name.startswith("share") and value > MAX_SHARE)
    ]
    print(json.dumps(found, indent=2))
    if args.json:
        args.json.write_text(json.dumps(found) + "\n")
    sys.exit(bool(found["missed"]))


if __name__ == "__main__":
    main()
