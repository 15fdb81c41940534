"""Jobs on masks, and on a user's own images and network, in NVFlare's simulator."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from medleak.custom.data.datalist import load_datalist
from medleak.custom.data.transforms import load_images, network_input
from medleak.custom.record import list_updates, read_record, verify
from medleak.inversion.cli import app
from tests.jobs.simulation import Simulation, allow_medleak, export, simulate

pytestmark = [pytest.mark.simulator, pytest.mark.timeout(300)]

TWO = "site-1:4:4:4,site-9:1:1:4:site-1"

OWN_NETWORK = """
from torch import nn

def make(width, outputs=2):
    return nn.Sequential(
        nn.Conv2d(3, width, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * width, outputs),
    )
"""


def run(name: str, folder: Path, *options: str, **variables: str) -> Simulation:
    job = export(name, folder, "--num_rounds", "1", "--scale", "1", *options)
    if "--installed" in options:
        allow_medleak(folder / "run")
    done = simulate(job, folder / "run", 2, clients=None, **variables)
    assert done.returncode == 0, done.log[-3000:]
    return done


def report(done: Simulation) -> dict:
    return json.loads((done.server / "test_metrics.json").read_text())


def audit(*options: str) -> Result:
    return CliRunner().invoke(app, ["audit", "run", *options, "--out", "audit", "--json"])


def test_a_segmentation_without_code_in_the_job_is_recorded_tested_by_dice_and_inverted(
    tmp_path, monkeypatch
):
    options = ("--table", TWO, "--spatial_size", "32", "--installed")
    done = run("brain_unet", tmp_path, *options)
    records = done.server / "records"
    found = read_record(records, 0, "site-9")
    assert found.manifest.known_task().criterion == "segmentation_cross_entropy"
    assert found.manifest.class_names == ("background", "foreground")
    assert [problem for *_, problem in verify(records)] == [None, None]
    tested = report(done)
    assert 0 <= tested["dice"]["lower95"] <= tested["dice"]["value"] <= 1
    monkeypatch.chdir(tmp_path)
    audited = audit("--site", "site-9", "--attack", "row_space:seconds=4")
    assert audited.exit_code == 0, audited.output
    (case,) = json.loads(audited.stdout)["sites"]
    assert case["ssim"]["n"] == 1


def test_own_images_and_own_network_go_through_job_record_and_audit(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(OWN_NETWORK)
    images = tmp_path / "images"
    rng = np.random.default_rng(0)
    for kind in ("ill", "well"):
        (images / kind).mkdir(parents=True)
        for k in range(16):
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(
                images / kind / f"{k}.png"
            )
    own = ("--model", "my_nets.make", "--model_args", '{"width": 8}', "--classes", "ill", "well")
    table = ("--table", "site-1:1:2:2,site-2:1:2:2,site-3:1:1:2", "--clients_per_round", "1")
    importable = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    variables = {"MEDLEAK_DATA": str(images), "PYTHONPATH": importable}
    done = run("medpfl_fedsgd", tmp_path, *own, *table, **variables)
    records = done.server / "records"
    ((_, site),) = list_updates(records)  # a random one of three
    found = read_record(records, 0, site)

    # FedSGD: what it sent is the gradient of all its images, times the learning rate.
    sys.modules.pop("my_nets", None)
    monkeypatch.syspath_prepend(tmp_path)
    from medleak.custom.training.initial import build_job_network

    model, spec = found.manifest.known_model(), found.manifest.known_input()
    network = build_job_network(model.path, model.args, allowed=("my_nets.",))
    network.load_state_dict({k: torch.as_tensor(v) for k, v in found.global_state.items()})
    items = load_datalist(done.workspace / site / "simulate_job" / "datalist.json")["training"]
    x, y = load_images(items, spatial_size=(32, 32), channels=3)
    assert spec.mean is not None
    assert spec.std is not None
    loss = torch.nn.functional.cross_entropy(network(network_input(x, spec.mean, spec.std)), y)
    loss.backward()
    assert (found.info.n_images, found.info.n_steps) == (len(items), 1)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        expected = -found.info.known("lr") * parameter.grad
        np.testing.assert_allclose(found.update[name], expected, rtol=1e-3, atol=1e-7)

    monkeypatch.chdir(tmp_path)
    refused = audit("--attack", "row_space:seconds=3")
    assert refused.exit_code != 0
    assert "my_nets.make" in refused.stderr
    allowed = audit("--attack", "row_space:seconds=3", "--allow-model", "my_nets.")
    assert allowed.exit_code == 0, allowed.output
    (case,) = json.loads(allowed.stdout)["sites"]
    assert case["ssim"]["n"] == len(items)
