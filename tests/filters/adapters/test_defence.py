"""Tests of one pure defence as a filter, and of the filter that shows it the global model."""

import numpy as np
import pytest
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.fl_constant import FLContextKey

from medleak.filters.adapters.defence import DefenceFilter, GlobalModel
from medleak.filters.registry import build


def noise(seed=None, **settings):
    defence = build("gaussian_perturbation", {"scale": 0.01, "buffers": "drop"})
    return DefenceFilter(defence, tasks=["train"], seed=seed, **settings)


def test_the_update_is_protected_and_the_defence_declared(site, update, global_state):
    sent = site.send(noise(), site.result(update), global_state)
    assert [d["name"] for d in sent.meta["medleak_defences"]] == ["gaussian_perturbation"]
    difference = sent.data["fc.weight"] - update["fc.weight"]
    assert np.std(difference) == pytest.approx(0.01, rel=0.05)


def grown(update, factor):
    """``update``, as another site's images would make it; counters count batches."""
    return {n: v if n.endswith("tracked") else factor * v for n, v in update.items()}


def test_the_declaration_holds_no_value_that_depends_on_the_data(site, update, global_state):
    declared = [
        site.send(noise(), site.result(grown(update, k)), global_state).meta["medleak_defences"]
        for k in (1, 3)
    ]
    assert declared[0] == declared[1]
    assert set(declared[0][0]["args"]) <= {"scale", "buffers", "level", "lr"}


def test_noise_is_fresh_in_every_call_and_repeats_only_with_a_seed(site, update, global_state):
    def weights(filter_, **task):
        return site.send(filter_, site.result(update), global_state, **task).data["fc.weight"]

    assert not np.array_equal(weights(noise()), weights(noise()))
    np.testing.assert_array_equal(weights(noise(seed=1)), weights(noise(seed=1)))
    first, second = (weights(noise(seed=1), round_number=r) for r in (1, 2))
    assert not np.array_equal(first, second)


def test_seeded_noise_without_a_round_stays_home(site, update, global_state):
    site.send(noise(), site.result(update), global_state, round_number=None)
    with pytest.raises(ContentBlockedException, match="seeded noise would repeat"):
        site.send(noise(seed=1), site.result(update), global_state, round_number=None)


def test_the_global_model_is_shown_and_passes_unchanged(site, global_state):
    ctx, data = site.task(global_state)
    ctx.remove_prop(FLContextKey.TASK_DATA)
    assert GlobalModel().process(data, ctx) is data
