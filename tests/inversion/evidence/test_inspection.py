"""Can this update leak images at all? The verdicts, each on a client that has it."""

import dataclasses

import pytest
import torch
from tests.inversion.evidence.rounds import client, smooth, trained_once
from torch import nn

from medleak.inversion.evidence import inspection
from medleak.inversion.evidence.inspection import inspect_update
from medleak.inversion.evidence.sources import first_linear


def test_a_layer_whose_input_follows_by_algebra_is_an_exact_leak():
    found = inspect_update(client(smooth(1), torch.tensor([1])))
    assert found.verdict == "exact"
    assert found.words.startswith("Yes, by algebra alone: ")
    assert {t.source for t in found.told} >= {"norm_statistics", "row_space", "features"}


def test_statistics_alone_are_a_leak_that_an_attack_must_measure():
    found = inspect_update(client(smooth(32), torch.arange(32) % 2))
    assert found.verdict == "yes"
    assert "medleak audit" in found.words


def test_where_only_the_head_tells_pixels_are_not_called_safe():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(64, 2),
    )  # fmt: skip
    found = inspect_update(trained_once(network, smooth(1), torch.tensor([1])))
    assert found.verdict == "labels"
    assert "not known to be safe" in " ".join(found.words.split())


def test_an_update_of_zeros_tells_nothing_and_only_that_is_a_no():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    observation = trained_once(network, smooth(1), torch.tensor([1]), lr=0.0)
    found = inspect_update(observation)
    assert found.verdict == "nothing sent"
    assert found.words.startswith("No:")


def test_weights_that_did_not_move_are_no_silence_where_statistics_did():
    found = inspect_update(client(smooth(1), torch.tensor([1]), lr=0.0))
    assert found.verdict == "yes"
    assert {t.source for t in found.told if t.useful} == {"norm_statistics"}


def test_noise_is_not_called_an_image():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    found = inspect_update(trained_once(network, smooth(1), torch.tensor([1]), noise=1.0))
    assert found.verdict == "labels"


def test_a_source_that_cannot_read_a_network_is_named_and_the_rest_asked(monkeypatch):
    def broken(reading):
        raise ValueError("no such layer here")

    source = dataclasses.replace(first_linear.SOURCE, tell=broken)
    monkeypatch.setattr(inspection, "SOURCES", (source, *inspection.SOURCES))
    found = inspect_update(client(smooth(1), torch.tensor([1])))
    assert ("first_linear", "could not read this network: no such layer here") in found.without
    assert found.verdict == "exact"


@pytest.mark.parametrize("name", ["first_linear"])
def test_what_a_silent_source_would_need_is_said(name):
    found = inspect_update(client(smooth(1), torch.tensor([1])))
    assert dict(found.without)[name].startswith("needs ")
