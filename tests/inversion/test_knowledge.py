"""Tests of medleak.inversion.knowledge: what is granted, and how its lack is said."""

import pytest

from medleak.inversion.knowledge import Knowledge, KnowledgeError


def test_knowledge_describes_itself():
    assert Knowledge().describe() == "all, labels inferred"
    found = Knowledge(bn_statistics=False, lr=False, labels="known").describe()
    assert found == "without bn_statistics+lr, labels known"
    with pytest.raises(ValueError, match="guessed"):
        Knowledge(labels="guessed")  # pyright: ignore[reportArgumentType]


def test_knowledge_says_what_is_stale_or_wrong_and_refuses_other_words():
    assert Knowledge().describe() == "all, labels inferred"
    wrong = Knowledge(model_round="previous", prior_image="gray", labels="known")
    assert wrong.describe() == "all, labels known, prior gray, model previous"
    with pytest.raises(ValueError, match="current, previous or initial"):
        Knowledge(model_round="next")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="given, gray or other"):
        Knowledge(prior_image="best")  # pyright: ignore[reportArgumentType]


def test_what_is_withheld_is_named_with_the_field_that_grants_it():
    error = KnowledgeError("the learning rate", "lr")
    assert "needs the learning rate" in str(error)
    assert "Knowledge(lr=...)" in str(error)
