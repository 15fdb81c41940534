"""The README's three ways into a federation, run as they stand."""

import json
import re
import shlex

import pytest
import torch
from tests.custom.flare.checking.test_job_check import HELLO, NETWORK
from tests.custom.flare.test_attach import SERVER, job
from tests.inversion.cli.commands import medleak
from tests.places import ROOT

from medleak.custom.record import read_record

SECTION = (
    (ROOT / "README.md").read_text().partition("## On your own federation")[2].partition("\n## ")[0]
)


def block(word):
    """The lines of Python in which ``word`` stands."""
    found = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    (code,) = [code for code in found if word in code]
    assert len(code.strip().splitlines()) <= 10
    return compile(code, "README.md", "exec")


def test_the_lines_around_a_training_loop_record_what_was_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images, labels = torch.rand(1, 3, 64, 64), torch.tensor([1])
    exec(block("Recorder("), {"images": images, "labels": labels})
    found = read_record(tmp_path / "runs/mine", 0, "site-1")
    assert (found.info.n_images, found.info.lr, found.info.optimizer) == (1, 0.01, "sgd")
    assert found.manifest.known_input().spatial_size == (64, 64)
    assert found.manifest.known_model().args == {"num_classes": 2}


def test_the_lines_for_flower_make_an_app_and_a_strategy(tmp_path, monkeypatch):
    pytest.importorskip("flwr", reason="the extra flower is not installed; see make test-flower")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block("ClientApp("), names)
    assert type(names["app"]).__name__ == "ClientApp"
    assert type(names["strategy"]).__name__ == "FedAvg"


def test_the_line_for_an_nvflare_job_adds_recorder_and_filter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "path" / "to").mkdir(parents=True)
    made = job(tmp_path / "path" / "to", SERVER, HELLO)
    (made / "app" / "custom" / "model.py").write_text(NETWORK)
    (line,) = [x.strip() for x in SECTION.splitlines() if x.startswith("    medleak attach")]
    done = medleak(*shlex.split(line)[1:], "--allow-model", "model.")
    assert done.exit_code == 0, done.output
    server = json.loads((tmp_path / "job-recorded/app/config/config_fed_server.json").read_text())
    assert "UpdateRecorder" in json.dumps(server["task_result_filters"])
    client = json.loads((tmp_path / "job-recorded/app/config/config_fed_client.json").read_text())
    assert "PercentileGaussian" in json.dumps(client["task_result_filters"])
