"""The README's way for one's own images and network: each line of it is a command that exists."""

import importlib
import json
import re
import shlex
from typing import Any

import numpy as np
import pytest
import torch
import typer
from nvflare.app_common.abstract.fl_model import FLModel
from PIL import Image
from typer.testing import CliRunner

from medleak.custom.record import UpdateInfo, utc_now, write_manifest, write_record
from medleak.custom.record.schema import Manifest
from medleak.custom.training import client
from medleak.custom.training.arguments import parse
from medleak.custom.training.initial import initial_network
from medleak.inversion.cli import app
from tests.jobs.simulation import ROOT, client_config, export

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # an audit included

README = (ROOT / "README.md").read_text()
SECTION = README.partition("## On your own images")[2].partition("\n## ")[0]
BLOCK = [line.strip() for line in re.findall(r"^    (.+)$", SECTION, re.MULTILINE)]
INLINE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", SECTION)]

OWN_NETWORK = """
from torch import nn

def net(classes):
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, classes),
    )
"""


def words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


@pytest.mark.parametrize("line", [x for x in (*BLOCK, *INLINE) if x.startswith("medleak ")])
def test_the_medleak_commands_exist_with_their_options(line):
    command: Any = typer.main.get_command(app)
    _, *rest = words(line)
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context("README", rest)
    with pytest.raises(Exception, match="No such option"):
        command.make_context("README", [*rest, "--no-such-option"])


def test_the_job_commands_exist_with_their_options(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "jobs")
    job = importlib.import_module("job")
    for line in BLOCK:
        if line.startswith("nvflare simulator"):
            assert (ROOT / words(line)[2] / "meta.json").is_file()
    (line,) = [x for x in INLINE if x.startswith("python jobs/job.py")]
    options = job.parser().parse_args(words(line)[2:])
    made = job.configured(job.JOBS[options.name], options)
    assert (made.model_path, dict(made.model_args)) == ("mylab.networks.net", {"classes": 2})


@pytest.fixture
def images(tmp_path):
    """A user's own folder: two classes, names of his own, files of all sorts."""
    rng = np.random.default_rng(0)
    for kind in ("not ill", "ill"):
        folder = tmp_path / "images" / kind
        folder.mkdir(parents=True)
        for k in range(20):
            pixels = rng.integers(0, 256, (30 + k, 40, 3), np.uint8)
            picture = Image.fromarray(pixels)
            mode = ("RGB", "L", "P", "CMYK")[k % 4]
            suffix = "tif" if mode == "CMYK" else "png"
            picture.convert(mode).save(folder / f"{kind} {k}.{suffix}")
    return tmp_path / "images"


def test_own_images_and_own_network_are_trained_on_recorded_and_audited(
    tmp_path, images, monkeypatch
):
    """As in NVFlare's simulator, which `test_networks.py` runs, but in one process."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "networks.py").write_text(OWN_NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MEDLEAK_DATA", str(images))
    monkeypatch.setattr(client, "_track", lambda *_: None)
    table = "site-1:4:8:2,site-9:1:1:2:site-1"
    own = ("--model", "mylab.networks.net", "--model_args", '{"classes": 2}')
    job = export("cxr_clean", tmp_path, *own, "--classes", "not ill", "ill", "--table", table)

    # What the exported job gives to the server and to site-9.
    server = json.loads((job / "app_server/config/config_fed_server.json").read_text())
    site = client_config(job, "site-9")
    (recorder,) = [f["args"] for c in server["task_result_filters"] for f in c["filters"]]
    (persistor,) = [c["args"] for c in server["components"] if c["id"] == "persistor"]
    # NVFlare puts the code that a job brings on the path: it may name networks of its own.
    monkeypatch.syspath_prepend(job / "app_client" / "custom")
    initial = initial_network(**persistor["model"]["args"])
    script = site["executors"][0]["executor"]["args"]["task_script_args"]
    run = tmp_path / "simulator_workspace"
    script = script.replace("{WORKSPACE}", str(run / "site-9")).replace("{JOB_ID}", "simulate_job")

    sent = {name: value.numpy().copy() for name, value in initial.state_dict().items()}
    trainer = client.LocalTrainer(parse(script.split()), "site-9")
    answer = trainer.train(FLModel(params=sent, current_round=0, total_rounds=1))
    assert answer.params is not None
    assert answer.meta is not None
    update = {name: torch.as_tensor(v).numpy() - sent[name] for name, v in answer.params.items()}
    records = run / "server" / "simulate_job" / "records"
    manifest = {key: recorder[key] for key in ("task", "input", "class_names")} | {
        "job": "own",
        "created": utc_now(),
        "model": {"path": recorder["model_path"], "args": recorder["model_args"]},
    }
    write_manifest(records, Manifest.model_validate(manifest))
    info = UpdateInfo(round=0, site="site-9", time=utc_now(), **answer.meta["hp"])
    write_record(records, info, sent, update)

    monkeypatch.chdir(tmp_path)
    audit = ("audit", str(run), "--attack", "row_space:seconds=2", "-o", "audit", "--json")
    refused = CliRunner().invoke(app, audit)
    assert "mylab.networks.net" in refused.stderr
    allowed = CliRunner().invoke(app, [*audit, "--allow-model", "mylab.networks."])
    assert allowed.exit_code == 0, allowed.output
    (case,) = json.loads(allowed.stdout)["sites"]
    assert case["ssim"]["n"] == 1
