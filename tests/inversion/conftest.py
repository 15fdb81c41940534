"""A federation in small: a simulator workspace with records, truth lists and images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets.resnet import ResNet
from tests.inversion.calibration.federations import federation
from tests.inversion.clients import lenet_spec, observed, resnet_spec, smooth_images
from tests.inversion.figures.sweeps import make_audit
from tests.inversion.report.directories import another, directory, phantoms
from torch import nn

from medleak.custom.data.datalist import Item, load_datalist, save_datalist
from medleak.custom.data.transforms import load_images, network_input
from medleak.custom.phantoms import listing, render
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
    write_manifest,
    write_record,
)

__all__ = [
    "another",
    "directory",
    "federation",
    "lenet_spec",
    "make_audit",
    "observed",
    "phantoms",
    "resnet_spec",
    "smooth_images",
]

NETWORK = {
    "block": "basic",
    "layers": [1, 1, 1, 1],
    "block_inplanes": [8, 8, 8, 8],
    "spatial_dims": 2,
    "n_input_channels": 3,
    "conv1_t_size": 3,
    "conv1_t_stride": 1,
    "no_max_pool": True,
    "num_classes": 2,
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Networks of these tests are so small that a second thread only costs."""
    torch.set_num_threads(1)


@pytest.fixture
def small_network() -> dict[str, Any]:
    """Arguments of the MONAI ResNet that `make_run` trains."""
    return dict(NETWORK)


@dataclass(frozen=True)
class SmallRun:
    """A workspace as the simulator leaves it."""

    root: Path

    @property
    def records(self) -> Path:
        return self.root / "server" / "simulate_job" / "records"

    def images(self, site: str, size: int, channels: int = 1) -> torch.Tensor:
        """What ``site`` trained on, [N, C, H, W]."""
        items = load_datalist(self.root / site / "simulate_job" / "datalist.json")["training"]
        return load_images(items, spatial_size=(size, size), channels=3 if channels == 3 else 1)[0]


MakeRun = Callable[..., SmallRun]


@pytest.fixture
def make_run(tmp_path) -> MakeRun:
    """Make a run of one SGD step a site and round, on phantoms; ``sites``: images of each."""

    def make(
        sites: dict[str, int] | None = None,
        rounds: tuple[int, ...] = (0,),
        size: int = 16,
        channels: int = 1,
        model: ModelSpec | None = None,
        network: nn.Module | None = None,
        defences: tuple[dict, ...] = (),
        name: str = "simulator_workspace",
    ) -> SmallRun:
        run = SmallRun(tmp_path / name)
        torch.manual_seed(0)
        network = network or ResNet(**NETWORK)
        model = model or ModelSpec(path="monai.networks.nets.ResNet", args=NETWORK)
        manifest = Manifest(
            job="small",
            created=utc_now(),
            model=model,
            task=TaskSpec(num_classes=2),
            input=InputSpec(spatial_size=(size, size), channels=3 if channels == 3 else 1),
        )
        write_manifest(run.records, manifest)
        for number, (site, n) in enumerate((sites or {"site-9": 1}).items()):
            folder = run.root / site / "simulate_job"
            items = listing(n, seed=number)
            at = render(items, folder, size, seed=number)
            kept = [Item(str(at / i.image), i.label, i.patient) for i in items]
            save_datalist(folder / "datalist.json", {"training": kept})
            images, labels = load_images(
                kept, spatial_size=(size, size), channels=3 if channels == 3 else 1
            )
            sent, update = _one_step(network, images, labels)
            for round in rounds:
                info = UpdateInfo(
                    round=round,
                    site=site,
                    time=utc_now(),
                    n_images=n,
                    n_steps=1,
                    batch_size=n,
                    local_epochs=1,
                    lr=0.01,
                    defences=defences,
                )
                write_record(run.records, info, sent, update)
        return run

    return make


def _one_step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.train()
    network.zero_grad()
    output = network(network_input(images, (0, 0, 0), (1, 1, 1)))
    nn.functional.cross_entropy(output, labels).backward()
    torch.optim.SGD(network.parameters(), lr=0.01).step()
    after = {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(before)
    return (
        {k: v.numpy() for k, v in before.items()},
        {k: (after[k] - before[k]).numpy() for k in before},
    )
