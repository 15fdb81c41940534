"""Tests of medleak.filters.adapters.compression: error feedback on disk."""

import numpy as np
import pytest
from nvflare.apis.filter import ContentBlockedException

from medleak.filters.adapters import RandomK, TopK


def weight(site, update, state, round_number, **kwargs):
    filter_ = TopK(fraction=0.1, error_feedback=True, **kwargs)
    sent = site.send(filter_, site.result(update), state, round_number=round_number)
    return sent.data["fc.weight"].astype(float)


def test_what_was_left_out_comes_in_later_rounds(site, update, global_state):
    total = sum(weight(site, update, global_state, r) for r in range(30))
    error = np.linalg.norm(total / 30 - update["fc.weight"]) / np.linalg.norm(update["fc.weight"])
    assert error < 0.5
    without = TopK(fraction=0.1)
    once = site.send(without, site.result(update), global_state).data["fc.weight"]
    assert np.linalg.norm(once - update["fc.weight"]) > 0.7 * np.linalg.norm(update["fc.weight"])


def test_a_repeated_round_adds_the_feedback_once(site, update, global_state):
    weight(site, update, global_state, 0)
    first = weight(site, update, global_state, 1)
    np.testing.assert_array_equal(weight(site, update, global_state, 1), first)


def test_jobs_do_not_share_feedback(site, update, global_state):
    weight(site, update, global_state, 0)
    filter_ = TopK(fraction=0.1, error_feedback=True)
    other = site.send(filter_, site.result(update), global_state, round_number=1, job="job-2")
    plain = site.send(TopK(fraction=0.1), site.result(update), global_state)
    np.testing.assert_array_equal(other.data["fc.weight"], plain.data["fc.weight"])


def test_feedback_without_a_round_is_refused(site, update, global_state):
    with pytest.raises(ContentBlockedException, match="cannot tell a repeated round"):
        weight(site, update, global_state, None)


def test_rescaling_with_feedback_is_refused_at_the_start():
    with pytest.raises(ValueError, match="must not rescale"):
        RandomK(fraction=0.1, rescale=True, error_feedback=True)
