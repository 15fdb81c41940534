"""Tests of medleak.inversion.statement.kept_state: momentum of earlier rounds is taken off."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from medleak.custom.record import Manifest, Record, UpdateInfo
from medleak.inversion.statement import (
    carries_momentum,
    contradictions,
    without_kept_momentum,
)

LR = (0.1, 0.05, 0.02)
SAID = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01, "state_kept": True}


def rounds(momentum=0.9):
    """Three rounds of one step by an optimiser that is made once, from models of the server's.

    Returns the records, and what each step would have sent without state.
    """
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    parameters = network.parameters()
    optimizer = torch.optim.SGD(parameters, lr=1.0, momentum=momentum, weight_decay=0.01)
    records, fresh = [], []
    for number, lr in enumerate(LR):
        state = {
            k: v + 0.01 * torch.randn_like(v) if v.is_floating_point() else v.clone()
            for k, v in network.state_dict().items()
        }
        network.load_state_dict(state)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        functional.cross_entropy(network(torch.randn(8, 6)), torch.randint(2, (8,))).backward()
        fresh.append(
            {
                n: (-lr * (p.grad + 0.01 * p)).detach().numpy()
                for n, p in network.named_parameters()
                if p.grad is not None
            }
        )
        optimizer.step()
        update = {k: (v - state[k]).numpy() for k, v in network.state_dict().items()}
        said = SAID | {"lr": lr, "n_steps": 1, "momentum": momentum}
        info = UpdateInfo.model_validate({"round": number, "site": "a", "time": "", **said})
        before = {k: v.numpy() for k, v in state.items()}
        records.append(Record(Manifest(job="j", created=""), info, before, update))
    return records, fresh


def changed(record, **said):
    return dataclasses.replace(record, info=record.info.model_copy(update=said))


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_left_is_the_rounds_own_gradient(number):
    records, fresh = rounds()
    found = without_kept_momentum(records[number], records[number - 1])
    for name, value in fresh[number].items():
        np.testing.assert_allclose(found.update[name], value, rtol=1e-4, atol=1e-6)
        assert not np.allclose(records[number].update[name], value, rtol=1e-2, atol=1e-5)
        assert found.update[name].dtype == records[number].update[name].dtype
    statistics = [n for n in found.update if "1." in n and n not in fresh[number]]
    assert statistics
    for name in statistics:
        np.testing.assert_array_equal(found.update[name], records[number].update[name])
    assert found.info.state_kept is False
    assert found.info.sources["state_kept"] == "inferred"


def test_a_first_round_and_a_fresh_optimiser_bring_nothing_along():
    records, _ = rounds()
    assert [carries_momentum(record) for record in records] == [False, True, True]
    assert not carries_momentum(changed(records[1], momentum=0.0))
    assert not carries_momentum(changed(records[1], state_kept=None))
    assert not carries_momentum(changed(records[1], optimizer="adam"))


def test_momentum_that_is_said_to_be_kept_clears_nobody():
    """Taken off where it was not kept, it hides what the update shows."""
    records, _ = rounds()
    assert not any("momentum" in why for why in contradictions(records[0]))
    (why,) = (why for why in contradictions(records[1]) if "momentum" in why)
    assert "nothing in the update confirms" in why
    assert "(declared)" in why
    assert not any("momentum" in w for w in contradictions(changed(records[1], momentum=0.0)))


@pytest.mark.parametrize(
    "said",
    [
        {"n_steps": 2},
        {"round": 5},
        {"site": "b"},
        {"lr": None},
        {"defences": ({"name": "top_k", "args": {}},)},
    ],
)
@pytest.mark.parametrize("which", [0, 1])
def test_where_it_is_not_known_nothing_is_taken_off(said, which):
    records, _ = rounds()
    if said.get("n_steps"):  # which batch norm would contradict, and there is none
        records = [
            dataclasses.replace(r, update={k: v for k, v in r.update.items() if "tracked" not in k})
            for r in records
        ]
    pair = [records[1], records[0]]
    pair[which] = changed(pair[which], **said)
    assert without_kept_momentum(*pair) is pair[0]
