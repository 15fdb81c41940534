"""Tests of which model an update belongs to."""

import numpy as np
import pytest

from medleak.custom.record import RecordError
from medleak.custom.record.sent_models import SentModels

A, B = {"w": np.ones(3)}, {"w": np.full(3, 2.0)}


def test_one_model_for_all_sites_is_held_once():
    sent = SentModels()
    for site in ("a", "b"):
        sent.note(site, 0, {k: v.copy() for k, v in A.items()})
    assert sent.answered("a", 0) is sent.answered("b", 0)


def test_a_model_that_is_passed_on_belongs_to_the_site_that_got_it():
    sent = SentModels()
    sent.note("a", 0, A)
    sent.note("b", 0, B)
    assert sent.answered("a", 0).arrays["w"][0] == 1
    assert sent.answered("b", 0).arrays["w"][0] == 2
    sent.note("a", 1, B)
    assert sent.answered("a", 1).arrays["w"][0] == 2
    assert sent.answered("a", 1) is not sent.answered("b", 0)  # another round's file


def test_a_site_that_was_sent_two_models_is_not_guessed_at():
    sent = SentModels()
    sent.note("a", 0, A)
    sent.note("a", 0, {k: v.copy() for k, v in A.items()})  # asked twice: the same
    with pytest.raises(RecordError, match="'a' was sent different models in round 0"):
        sent.note("a", 0, B)


@pytest.mark.parametrize(("site", "round"), [("a", 1), ("b", 0), ("a", None)])
def test_an_answer_to_what_was_not_sent_is_refused(site, round):
    sent = SentModels()
    sent.note("a", 0, A)
    with pytest.raises(RecordError, match="does not belong to the model"):
        sent.answered(site, round)
