"""The README's lines around a training loop, run as they stand."""

import re

import torch
from tests.places import ROOT

from medleak.custom.record import read_record


def test_the_lines_around_a_training_loop_record_what_was_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    images, labels = torch.rand(1, 3, 64, 64), torch.tensor([1])
    exec(compile(code, "README.md", "exec"), {"images": images, "labels": labels})
    found = read_record(tmp_path / "runs/mine", 0, "site-1")
    assert (found.info.n_images, found.info.lr, found.info.optimizer) == (1, 0.01, "sgd")
    assert found.manifest.known_input().spatial_size == (64, 64)
    assert found.manifest.known_model().args == {"num_classes": 2}
