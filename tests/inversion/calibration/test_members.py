from dataclasses import replace

import pytest
from tests.inversion.report.answers import an_answer

from medleak.inversion.calibration.members import NobodyTold
from medleak.inversion.calibration.probe import Attacked, Found
from medleak.inversion.calibration.search import mechanism
from medleak.inversion.calibration.site import search_site
from medleak.inversion.membership.files import Answer
from medleak.inversion.results.case import Case

NOISE = mechanism("percentile_gaussian")
WHO = ("membership/row_space", "all")
ANSWERS = {gap: an_answer("s", gap=gap, members=150, others=150) for gap in (3.0, 0.0)}


def found(gap, seeds=(0, 1), attacker=WHO, **changes):
    answers = []
    for seed in seeds:
        case = Case(0, "s", attacker[0], "none", attacker[1], seed)
        answers.append((case, Answer(ANSWERS[gap] | changes, ())))
    update = Attacked(rows=(), answers=answers)
    return Found(update=update, alone=Attacked(rows=()), health={})


def searched(gap_at, **changes):
    search = search_site("s", NOISE, (0, 1), NobodyTold())
    wanted = next(search)
    while True:
        try:
            wanted = search.send(replace(found(gap_at(wanted.strength), wanted.seeds), **changes))
        except StopIteration as end:
            return end.value


def test_the_least_strength_at_which_nobody_is_told_is_found_and_confirmed():
    answer = searched(lambda s: 3.0 if (s or 0) < 3 else 0.0)
    assert answer.strength == 3.16
    assert answer.why.startswith("confirmed with 2 fresh seeds: AUC 0.480, at most 0.545")
    assert answer.searched[0].auc_mean > 0.95
    assert answer.searched[-1].fresh


def test_where_members_are_told_at_every_strength_there_is_none():
    answer = searched(lambda s: 3.0)
    assert answer.strength is None
    assert "none in range" in answer.why
    assert "the AUC may still be" in answer.why


def test_a_site_whose_bare_update_tells_nothing_gets_no_number():
    answer = searched(lambda s: 0.0)
    assert answer.strength is None
    assert "even the undefended update does not tell" in answer.why


def test_an_update_that_contradicts_what_was_said_is_inconclusive():
    answer = searched(lambda s: 3.0, contradicted=["n_steps is 9"])
    assert answer.why.startswith("inconclusive: the update contradicts")


@pytest.mark.parametrize(
    ("changes", "holds"),
    [({}, True), ({"recognised_patients": 1}, False)],
)
def test_a_patient_that_is_recognised_is_told_whatever_the_mean(changes, holds):
    goal = NobodyTold()
    assert goal.holds(goal.tried(1.0, (0, 1), found(0.0, **changes), found(3.0))) is holds


def test_the_score_that_tells_most_decides_and_a_run_that_was_refused_hides_nothing():
    other = ("membership/loss_drop", "all")
    both = [*found(0.0).update.answers, *found(3.0, attacker=other).update.answers]
    both = replace(found(0.0), update=Attacked(rows=(), answers=both))
    assert NobodyTold().tried(1.0, (0, 1), both, found(3.0)).attack == other[0]
    lost = found(0.0, seeds=(0,))
    refused = {WHO: {(0, 1): "no layer has changed"}}
    lost = replace(lost, update=replace(lost.update, refused=refused))
    tried = NobodyTold().tried(1.0, (0, 1), lost, found(3.0))
    assert tried.refused == 1
    assert not NobodyTold().holds(tried)


def test_without_truth_nothing_is_measured():
    answer = search_site("s", NOISE, (0, 1), NobodyTold())
    next(answer)
    with pytest.raises(StopIteration) as end:
        answer.send(found(0.0, separation=None))
    assert end.value.value.why.startswith("inconclusive: it is not known which candidates were in")


@pytest.mark.parametrize("most", [0.5, 1.0, float("nan")])
def test_a_bound_that_nothing_or_everything_keeps_is_refused(most):
    with pytest.raises(ValueError, match="largest AUC"):
        NobodyTold(most=most)
