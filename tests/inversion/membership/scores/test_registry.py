import pytest

from medleak.inversion.membership.scores.registry import ROWS, score_of


def test_every_score_is_had_by_its_name_and_says_what_it_is():
    assert [score_of(row.name) for row in ROWS] == list(ROWS)
    assert all(row.words and row.source for row in ROWS)


def test_an_unknown_score_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="known are row_space, statistics, joint, loss_drop"):
        score_of("lira")
