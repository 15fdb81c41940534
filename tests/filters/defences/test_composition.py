"""Tests of medleak.filters.defences.composition."""

import numpy as np
import pytest

from medleak.filters.defences.composition import Composition
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.filters.update import UpdateError


def test_steps_run_from_first_to_last(update, global_state):
    rng = NoiseSource.secure()
    compressed_last = defence("gaussian_perturbation:scale=1+top_k:fraction=0.1")
    compressed_first = defence("top_k:fraction=0.1+gaussian_perturbation:scale=1")
    last = compressed_last(update, rng=rng, global_state=global_state)["fc.weight"]
    first = compressed_first(update, rng=rng, global_state=global_state)["fc.weight"]
    assert np.count_nonzero(last) == 2048
    assert np.count_nonzero(first) == first.size


def test_statistics_withheld_first_do_not_set_the_noise(update, global_state):
    update["bn1.running_mean"] = np.full(64, 1e6, np.float32)
    sent = defence("withhold+percentile_gaussian:sigma0=1,percentile=100")(
        update, rng=NoiseSource.seeded(1), global_state=global_state
    )
    assert np.abs(sent["fc.weight"]).max() < 1


def test_an_error_of_any_step_stops_the_update(update, global_state):
    update["fc.weight"][0, 0] = np.nan
    with pytest.raises(UpdateError, match="NaN"):
        defence("withhold+sign")(update, rng=NoiseSource.secure(), global_state=global_state)


def test_dropping_all_that_the_next_step_protects_is_refused(update, global_state):
    chain = defence("withhold:layers=*weight|*bias|temperature,batch_norm=send+sign:buffers=drop")
    with pytest.raises(UpdateError, match="no entry is left to protect"):
        chain(update, rng=NoiseSource.secure(), global_state=global_state)


def test_an_empty_composition_is_refused():
    with pytest.raises(ValueError, match="at least one defence"):
        Composition([])
