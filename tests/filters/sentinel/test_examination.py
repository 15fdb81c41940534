"""Tests of medleak.filters.sentinel.examination."""

import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from tests.filters.sentinel.models import convolutional, linear

from medleak.filters.sentinel.examination import CHECKS, digest, examine, noted
from medleak.filters.sentinel.memory import Memory


def after(state, update=None, round=0):
    """A memory of one honest round."""
    memory = Memory().with_model(examine(state, Memory()).profile, round)
    return memory if update is None else noted(memory, state, update)


def small_update(state, scale=1e-3):
    rng = np.random.default_rng(4)
    return {
        n: rng.normal(size=v.shape).astype(np.float32) * scale
        for n, v in state.items()
        if v.dtype.kind == "f"
    }


def test_an_honest_run_is_fine_and_says_what_it_could_not_examine():
    state = {**linear(), **convolutional()}
    first = examine(state, Memory())
    assert not first.odd
    unknown = {r.check for r in first.results if r.status == "not examined"}
    assert unknown == {"structure", "values", "step", "norms", "spectra"}
    assert "not examined: structure" in first.line
    update = small_update(state)
    moved = {n: v + 0.5 * update.get(n, 0) for n, v in state.items()}
    moved = {n: np.asarray(v, state[n].dtype) for n, v in moved.items()}
    second = examine(moved, after(state, update), state.__getitem__, round=1)
    assert {r.status for r in second.results} == {"fine"}, second.line
    assert tuple(r.check for r in second.results) == CHECKS


def test_a_step_that_no_own_update_explains_is_odd():
    state = linear()
    memory = after(state, small_update(state))
    moved = {n: v + 1.0 * small_update(state, 0.5).get(n, 0) for n, v in state.items()}
    found = examine(moved, memory, state.__getitem__, round=1)
    assert "step" in {r.check for r in found.odd}
    assert found.line.startswith(found.odd[0].check)


def test_the_step_may_be_larger_after_missed_rounds():
    state = linear()
    update = small_update(state)
    memory = after(state, update)
    moved = {n: v + 400 * update[n] for n, v in state.items()}
    near = examine(moved, memory, state.__getitem__, round=1)
    far = examine(moved, memory, state.__getitem__, round=3)
    assert "step" in {r.check for r in near.odd}
    assert "step" not in {r.check for r in far.odd}


def settling(batches, target=8.0):
    """A model whose statistics start at 0, and what a site's own batches make of them."""
    state = convolutional()
    update = small_update(state)
    way = 1 - 0.9**batches
    update["bn.running_mean"] = np.full(32, target * way, np.float32)
    update["bn.running_var"] = np.full(32, target * way, np.float32)
    return state, {**update, "bn.num_batches_tracked": np.array(batches)}


def sent(state, **entries):
    return state | {f"bn.{n}": np.full(32, v, np.float32) for n, v in entries.items()}


@pytest.mark.parametrize("batches", [1, 2, 16])
def test_statistics_may_settle_in_one_round_at_sites_that_make_more_steps(batches):
    state, update = settling(batches)
    settled = sent(state, running_mean=8.0, running_var=8.0)
    found = examine(settled, after(state, update), state.__getitem__, round=1)
    assert not found.odd, found.line
    far = sent(state, running_mean=40.0, running_var=8.0)
    found = examine(far, after(state, update), state.__getitem__, round=1)
    assert "values" in {r.check for r in found.odd}


def test_a_site_with_frozen_norms_sees_any_change_of_their_statistics():
    state = convolutional()
    frozen = ("bn.running_mean", "bn.running_var")
    still = {n: v * (n not in frozen) for n, v in small_update(state).items()}
    for change in ({"running_mean": 1.5}, {"running_var": 0.1}):
        found = examine(sent(state, **change), after(state, still), state.__getitem__, round=1)
        assert {r.check for r in found.odd} == {"step"}, found.line


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_odd_and_stops_nothing(bad):
    state = linear()
    state["hidden.weight"][3, 5] = bad
    assert {r.check for r in examine(state, Memory()).odd} == {"values"}


def test_what_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="no dictionary of arrays"):
        examine({}, Memory())
    with pytest.raises(ValueError, match="in which no check can read it"):
        examine({"w": np.zeros((8, 8), np.complex64)}, Memory())


def test_the_hash_tells_values_shapes_and_names_apart():
    a = np.arange(6, dtype=np.float32)
    hashes = {
        digest({"a": a}),
        digest({"b": a}),
        digest({"a": a.reshape(2, 3)}),
        digest({"a": a + 1}),
    }
    assert len(hashes) == 4
    assert digest({"a": a.copy()}) == digest({"a": a})


def test_a_resnet18_takes_less_than_twice_its_memory_and_little_time():
    rng = np.random.default_rng(0)
    state = {
        f"layer{k}.weight": rng.normal(size=(512, 512, 3, 3)).astype(np.float32) for k in range(5)
    }
    size = sum(v.nbytes for v in state.values())
    tracemalloc.start()
    begun = time.process_time()
    examine(state, Memory())
    seconds, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size  # beside the model itself
    assert seconds < 20  # 0.3 s on an idle core; this is no race, but no loop over pairs either


def test_it_needs_numpy_alone():
    program = (
        "import sys; import medleak.filters.sentinel.examination, medleak.filters.sentinel.store\n"
        "assert not {'torch', 'nvflare', 'safetensors'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
