"""Tests of medleak.filters.defences.error_feedback."""

import numpy as np
import pytest

from medleak.filters.defences.error_feedback import compress_with_feedback
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.filters.update import UpdateError

COMPRESSIONS = ["top_k:fraction=0.1", "random_k:fraction=0.1", "sign", "quantisation:bits=3"]


@pytest.mark.parametrize("spec", COMPRESSIONS)
def test_what_is_sent_and_kept_is_the_update_and_the_memory(spec, update, global_state):
    memory = {"fc.weight": np.full((40, 512), 1e-5, np.float32)}
    sent, left = compress_with_feedback(
        defence(spec), update, memory, rng=NoiseSource.secure(), global_state=global_state
    )
    for name in left:
        whole = update[name] + memory.get(name, np.float32(0))
        np.testing.assert_allclose(sent[name] + left[name], whole, atol=1e-6)
    assert not [n for n in left if n.endswith("num_batches_tracked")]


@pytest.mark.parametrize("spec", COMPRESSIONS)
def test_over_many_rounds_the_sum_of_what_is_sent_approaches_the_sum_of_updates(spec):
    rng = NoiseSource.seeded(1)
    truth = {"w": np.random.default_rng(0).normal(size=50)}
    total, memory = np.zeros(50), {}
    for _ in range(200):
        sent, memory = compress_with_feedback(defence(spec), truth, memory, rng=rng)
        total += sent["w"]
    error = np.linalg.norm(total - 200 * truth["w"]) / np.linalg.norm(200 * truth["w"])
    assert error < 0.15


def test_memory_of_another_model_is_refused(update):
    with pytest.raises(UpdateError, match="holds head of shape"):
        compress_with_feedback(
            defence("sign"), update, {"head": np.ones(3)}, rng=NoiseSource.secure()
        )


def test_rescaling_under_feedback_is_refused(update):
    with pytest.raises(UpdateError, match="must not rescale"):
        compress_with_feedback(
            defence("random_k:fraction=0.1,rescale=true"), update, {}, rng=NoiseSource.secure()
        )
