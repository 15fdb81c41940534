"""Tests of the recorder around a training loop."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from medleak.custom.record import (
    InputSpec,
    ModelSpec,
    Recorder,
    RecordError,
    list_updates,
    read_record,
)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))


def step(model, optimizer, n=4):
    optimizer.zero_grad()
    functional.cross_entropy(model(torch.rand(n, 3, 8, 8)), torch.zeros(n).long()).backward()
    optimizer.step()


def test_what_was_trained_in_the_block_is_the_update(tmp_path):
    model = net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    recorder = Recorder(tmp_path, model, network="my.net:width=4", task="cross_entropy:2")
    with recorder.round(3, "site-1", augmentation=("hflip",)):
        step(model, torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1))
    found = read_record(tmp_path, 3, "site-1")
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(found.global_state[name], before[name])
        np.testing.assert_allclose(found.update[name], value - before[name], atol=1e-8)
    info = found.info
    assert (info.n_images, info.n_steps, info.batch_size) == (4, 1, 4)
    assert (info.optimizer, info.lr, info.weight_decay) == ("adamw", 1e-3, 0.1)
    assert (info.betas, info.eps, info.augmentation) == ((0.9, 0.999), 1e-8, ("hflip",))
    assert info.sources["momentum"] == info.sources["local_epochs"] == "unknown"
    assert found.manifest.model == ModelSpec(path="my.net", args={"width": 4})
    assert found.manifest.input == InputSpec(spatial_size=(8, 8), channels=3)
    assert found.manifest.sources["input"] == "inferred"


def test_what_changes_in_the_block_is_unknown_and_what_is_said_goes_first(tmp_path):
    model = net()
    recorder = Recorder(tmp_path, model, input="8x8x3")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with recorder.round(0, "a", batch_size=9) as said:
        for _ in range(2):
            step(model, optimizer)
            schedule.step()
        said["n_images"] = 8
    info = read_record(tmp_path, 0, "a").info
    assert (info.n_steps, info.optimizer, info.momentum) == (2, "sgd", 0.9)
    assert info.lr is None, "there is no one learning rate"
    assert info.lr_schedule == pytest.approx((0.1, 0.01))
    assert (info.n_images, info.batch_size) == (8, 9)


def test_accumulated_passes_are_counted_and_other_networks_are_not(tmp_path):
    model, other = net(), net()
    recorder = Recorder(tmp_path, model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with recorder.round(0, "a"):
        step(other, torch.optim.Adam(other.parameters()))
        for _ in range(3):
            model(torch.rand(2, 3, 8, 8)).sum().backward()
        optimizer.step()
        with torch.no_grad():
            model(torch.rand(7, 3, 8, 8))
    info = read_record(tmp_path, 0, "a").info
    assert (info.n_steps, info.accumulation_steps, info.batch_size) == (1, 3, 2)
    assert info.optimizer == "sgd"
    assert info.n_images is None


def test_sites_one_after_the_other_have_each_their_model(tmp_path):
    model = net()
    recorder = Recorder(tmp_path, model)
    for site in ("a", "b"):
        with recorder.round(0, site):
            step(model, torch.optim.SGD(model.parameters(), lr=0.1))
    first, second = (read_record(tmp_path, 0, s) for s in ("a", "b"))
    name = "3.weight"
    moved = first.global_state[name] + first.update[name]
    np.testing.assert_allclose(second.global_state[name], moved, atol=1e-7)


def test_two_runs_of_one_job_within_a_second_are_two(tmp_path):
    identities = set()
    for run in ("a", "b"):
        model = net()
        with Recorder(tmp_path / run, model).round(0, "site-1"):
            step(model, torch.optim.SGD(model.parameters(), lr=0.1))
        identities.add(
            read_record(tmp_path / run, 0, "site-1").manifest.identity()["manifest_sha256"]
        )
    assert len(identities) == 2


def test_a_block_that_raises_records_nothing_and_leaves_no_hook(tmp_path):
    model = net()
    recorder = Recorder(tmp_path, model)
    with pytest.raises(ZeroDivisionError), recorder.round(0, "a"):
        raise ZeroDivisionError
    assert list_updates(tmp_path) == []
    assert not model._forward_pre_hooks


@pytest.mark.parametrize(
    ("number", "site", "schedule", "words"),
    [
        (0, "../a", {}, "not usable"),
        (0, "a", {"lr": -1}, "Round 0, site a: its schedule is unusable: lr"),
        (0, "a", {"speed": 1}, "schedule is unusable: speed"),
    ],
)
def test_what_cannot_be_recorded_is_refused(tmp_path, number, site, schedule, words):
    model = net()
    with (
        pytest.raises(RecordError, match=words),
        Recorder(tmp_path, model).round(number, site, **schedule),
    ):
        step(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert list_updates(tmp_path) == []


def test_training_that_diverged_is_refused_by_name(tmp_path):
    model = net()
    with (
        pytest.raises(RecordError, match="Round 0, site a: the update holds NaN or inf"),
        Recorder(tmp_path, model).round(0, "a"),
        torch.no_grad(),
    ):
        next(model.parameters()).fill_(float("nan"))


def test_a_block_that_trains_another_network_records_nothing(tmp_path):
    model, other = net(), net()
    recorder = Recorder(tmp_path, model)
    with (
        pytest.raises(RecordError, match="another network was trained"),
        recorder.round(0, "a"),
    ):
        step(other, torch.optim.SGD(other.parameters(), lr=0.1))
    assert list_updates(tmp_path) == []
    with recorder.round(0, "a"):
        step(model, torch.optim.SGD(model.parameters(), lr=0.0))
    assert list_updates(tmp_path) == [(0, "a")]


def test_an_older_record_takes_what_it_lacks_and_refuses_another_word(tmp_path):
    model = net()

    def train(recorder, site):
        with recorder.round(0, site):
            step(model, torch.optim.SGD(model.parameters(), lr=0.1))

    train(Recorder(tmp_path, model, task="cross_entropy:2"), "a")
    train(Recorder(tmp_path, model, network="my.net"), "b")
    manifest = read_record(tmp_path, 0, "a").manifest
    assert manifest.model == ModelSpec(path="my.net")
    assert manifest.task is not None
    assert manifest.sources == {"model": "declared", "task": "declared", "input": "inferred"}
    with pytest.raises(RecordError, match=r"task.num_classes is 2, and now 3 is said"):
        train(Recorder(tmp_path, model, task="cross_entropy:3"), "c")
    assert list_updates(tmp_path) == [(0, "a"), (0, "b")]


class Output(OrderedDict):
    """As libraries of transformers return it: entries that are attributes too."""

    def __getattr__(self, name):
        return self[name]


class Classifier(nn.Module):
    """Takes its input by name, and computes its loss itself."""

    def __init__(self):
        super().__init__()
        self.network = net()

    def forward(self, pixel_values, labels):
        logits = self.network(pixel_values)
        return Output(loss=functional.cross_entropy(logits, labels), logits=logits)


def test_what_a_network_is_given_by_name_is_seen_too(tmp_path):
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with Recorder(tmp_path, model).round(0, "a"):
        given = {"labels": torch.zeros(4).long(), "pixel_values": torch.rand(4, 3, 8, 8)}
        model(**given).loss.backward()
        optimizer.step()
    found = read_record(tmp_path, 0, "a")
    assert (found.info.batch_size, found.info.n_images) == (4, 4)
    assert found.manifest.input == InputSpec(spatial_size=(8, 8), channels=3)
