"""Tests of a made-up update that is sent through a chain of filters."""

import os

import numpy as np
import pytest
from nvflare.apis.filter import Filter

from medleak.filters.adapters import GlobalModel, PercentileGaussian
from medleak.filters.adapters.examination.trial import attempt
from medleak.filters.doctor.canary import small

CANARY = small()


class Broken(Filter):
    def process(self, shareable, fl_ctx):
        raise RuntimeError("no\nway")


class Nothing(Filter):
    def process(self, shareable, fl_ctx):  # pyright: ignore[reportIncompatibleMethodOverride]
        return None


def tried(data=(), results=(), **more):
    return attempt(data, results, CANARY.state, CANARY.update, **more)


def test_without_filters_the_update_leaves_as_it_is():
    found = tried()
    assert found.refused is None
    assert found.sent is not None
    assert all(np.array_equal(found.sent[n], v) for n, v in CANARY.update.items())
    assert found.guarantees == []


def test_the_chain_runs_as_nvflare_would_run_it():
    found = tried([GlobalModel()], [PercentileGaussian(sigma0=10)])
    assert found.refused is None
    assert found.sent is not None
    assert not np.array_equal(found.sent["fc.weight"], CANARY.update["fc.weight"])
    assert found.guarantees == [None]


def test_a_refusal_is_told_with_its_reason_in_one_line_and_its_place():
    before = tried([Broken()])
    assert before.before_training
    withheld = tried([], [Broken()])
    assert not withheld.before_training
    for found in (before, withheld):
        assert found.sent is None
        assert found.refused is not None
        assert "\n" not in found.refused


@pytest.mark.parametrize("task", ["train", "validate"])
def test_a_filter_that_returns_nothing_lets_nothing_out(task):
    assert tried([], [Nothing()], task=task).sent is None


def test_whole_weights_are_weights():
    found = tried(weights=True)
    assert found.kind == "WEIGHTS"
    assert found.sent is not None
    whole = CANARY.state["fc.bias"] + CANARY.update["fc.bias"]
    assert np.array_equal(found.sent["fc.bias"], whole)


def test_it_leaves_no_trace_where_it_was_called_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tried([GlobalModel()], [PercentileGaussian(sigma0=10)])
    assert os.getcwd() == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
