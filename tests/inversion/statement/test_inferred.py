"""Tests of what an update tells of its training, on updates of real optimisers."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from medleak.custom.record import Manifest, Record, UpdateInfo
from medleak.inversion.statement.inferred import (
    complete,
    contradictions,
    forward_passes,
    inferred,
    step_size,
)

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
}


def record_of(optimizer="sgd", lr=0.01, steps=1, accumulate=1, **said):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2)
    )
    before = {k: v.detach().clone() for k, v in network.state_dict().items()}
    step = OPTIMIZERS[optimizer](network.parameters(), lr=lr)
    for _ in range(steps):
        step.zero_grad()
        for _ in range(accumulate):
            x, y = torch.rand(4, 1, 8, 8), torch.randint(2, (4,))
            functional.cross_entropy(network(x), y).backward()
        step.step()
    update = {k: (v - before[k]).detach().numpy() for k, v in network.state_dict().items()}
    info = UpdateInfo.model_validate({"round": 0, "site": "a", "time": "", **said})
    state = {k: v.numpy() for k, v in before.items()}
    return Record(Manifest(job="j", created=""), info, state, update)


def test_counters_tell_the_steps():
    assert inferred(record_of(steps=3))["n_steps"] == 3
    assert inferred(record_of(steps=2, accumulate=4, accumulation_steps=4))["n_steps"] == 2
    assert "n_steps" not in inferred(record_of(steps=3, n_steps=3))


@pytest.mark.parametrize(
    ("counts", "passes"),
    [([3, 3], 3), ([3, 6], None), ([], None), ([0], None), ([2.4], None), ([np.float64(2)], 2)],
)
def test_counters_that_do_not_agree_tell_nothing(counts, passes):
    update = {f"{k}.num_batches_tracked": np.asarray(v) for k, v in enumerate(counts)}
    assert forward_passes(update) == passes


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("lr", [1e-4, 1e-2])
def test_a_first_step_of_adam_is_known_by_its_shape_and_tells_the_learning_rate(optimizer, lr):
    found = inferred(record_of(optimizer, lr))
    assert found["optimizer"] == "adam"
    assert found["lr"] == pytest.approx(lr, rel=0.02)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_a_step_of_sgd_has_no_such_shape_and_its_learning_rate_stays_unknown(optimizer):
    found = inferred(record_of(optimizer))
    assert found["optimizer"] == "sgd"
    assert "lr" not in found


def test_of_several_steps_or_a_defended_update_the_optimiser_is_not_said():
    assert "optimizer" not in inferred(record_of("adam", steps=3))
    noised = record_of("adam", defences=[{"name": "noise"}])
    assert "optimizer" not in inferred(noised)


def test_one_step_is_over_all_images():
    assert inferred(record_of(batch_size=4))["n_images"] == 4
    assert inferred(record_of(n_images=4))["batch_size"] == 4
    assert "n_images" not in inferred(record_of())
    assert "n_images" not in inferred(record_of(batch_size=4, steps=2))
    assert inferred(record_of(n_images=8, batch_size=4, steps=6))["local_epochs"] == 3


@pytest.mark.parametrize(
    ("said", "steps"),
    [
        ({"n_images": 8, "batch_size": 4, "local_epochs": 3}, 6),
        ({"n_images": 3, "batch_size": 4, "local_epochs": 2}, 2),
        ({"n_images": 1, "local_epochs": 2}, 2),  # a batch of one
        ({"n_images": 6, "batch_size": 4, "local_epochs": 2}, None),  # 4 or, without the last, 2
        ({"n_images": 8, "batch_size": 4}, None),
        ({"n_images": 8, "batch_size": 4, "local_epochs": 3, "optimizer": "dp_sgd"}, None),
    ],
)
def test_without_counters_the_steps_follow_from_whole_batches(said, steps):
    made = record_of(steps=5)
    info = made.info.with_schedule("given", **said)
    silent = {k: v for k, v in made.update.items() if not k.endswith("num_batches_tracked")}
    found = inferred(Record(made.manifest, info, made.global_state, silent))
    assert found.get("n_steps") == steps
    counted = inferred(Record(made.manifest, info, made.global_state, made.update))
    assert counted["n_steps"] == 5  # counters go before words


def test_what_is_inferred_says_so_and_what_was_said_stays():
    found = complete(record_of(lr=0.01, batch_size=4)).info
    assert (found.n_steps, found.n_images, found.batch_size) == (1, 4, 4)
    assert found.sources["n_steps"] == found.sources["n_images"] == "inferred"
    assert found.sources["batch_size"] == "declared"
    assert found.sources["lr"] == "unknown"


def test_a_right_statement_is_not_contradicted():
    right = {"n_images": 4, "batch_size": 4, "local_epochs": 1, "n_steps": 1}
    for optimizer, lr in (("sgd", 0.01), ("adam", 0.01), ("adamw", 1e-4)):
        assert contradictions(record_of(optimizer, lr)) == []
        said = record_of(optimizer, lr, **right)
        said = Record(
            said.manifest,
            said.info.with_schedule("declared", optimizer=optimizer, lr=lr),
            said.global_state,
            said.update,
        )
        assert contradictions(said) == []


@pytest.mark.parametrize(
    ("made", "said", "words"),
    [
        ({"steps": 3}, {"n_steps": 2}, "counted 3 forward passes, and n_steps is 2"),
        (
            {"steps": 3},
            {"n_steps": 3, "lr_schedule": (0.1, 0.01)},
            "lr_schedule has 2 learning rates and n_steps is 3",
        ),
        (
            {"accumulate": 4},
            {"n_steps": 1},
            "counted 4 forward passes, and n_steps is 1",
        ),
        (
            {"optimizer": "adam"},
            {"n_steps": 1, "optimizer": "sgd"},
            r"as after a step of Adam, and the optimizer is sgd \(given\)",
        ),
        (
            {"optimizer": "sgd", "lr": 1.0},
            {"n_steps": 1, "optimizer": "adam", "lr": 1e-4},
            "as after a step of SGD",
        ),
        (
            {"optimizer": "adam", "lr": 1e-3},
            {"n_steps": 1, "optimizer": "adam", "lr": 1e-2},
            r"moves weights by lr, here by 0\.001, and lr is 0\.01",
        ),
        (
            {"steps": 3},
            {"n_images": 8, "batch_size": 4, "local_epochs": 2, "n_steps": 3},
            "make 4 steps in 2 epochs, and n_steps is 3",
        ),
    ],
)
def test_a_wrong_statement_is_contradicted_with_who_made_it(made, said, words):
    record = record_of(**made)
    info = record.info.with_schedule("given", **said)
    record = Record(record.manifest, info, record.global_state, record.update)
    assert re.search(words, "; ".join(contradictions(record)))


def test_a_handful_of_weights_tells_nothing_of_the_optimiser():
    record = record_of()
    few = {"w": np.ones(20, np.float32)}
    assert step_size(Record(record.manifest, record.info, few, few)) is None


def test_fewer_images_than_a_batch_holds_are_one_batch():
    record = record_of(steps=3, n_images=2, batch_size=4, local_epochs=3, n_steps=3)
    assert contradictions(record) == []
