"""Tests of which stages fit a client."""

from dataclasses import replace

import pytest

from medleak.inversion.attacks.row_space.recipes import (
    STATISTICS,
    deep_network,
    last_stages,
    lies_deep,
    recipe,
    without_statistics,
)
from medleak.inversion.evidence.several_rounds import Rounds
from medleak.inversion.knowledge import Knowledge


def changed(rounds, **other):
    return Rounds(tuple(replace(evidence, **other) for evidence in rounds.rounds))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_every_attempt_goes_another_way(evidence, large, known):
    found = evidence()
    assert found.features
    if not known:
        found = changed(found, features={})
    plans = [recipe(found, 1, large=large, attempt=k) for k in range(3)]
    assert len(set(plans)) == 3
    blurred = {(True, True): 1, (True, False): 2, (False, False): 1}.get((large, known))
    assert [plan[0].blur > 0 for plan in plans] == [k == blurred for k in range(3)]
    assert any(stage.features for plan in plans for stage in plan) == known


def test_without_statistics_no_stage_matches_any_and_pixels_are_boxed(evidence):
    found = evidence(knowledge=Knowledge(bn_statistics=False))
    for n_images in (1, 4):
        for attempt in range(3):
            for stage in recipe(found, n_images, large=False, attempt=attempt):
                assert stage.norms == "none"
                assert stage.descent.box > 0


@pytest.mark.parametrize("known", [True, False])
def test_steps_are_regrouped_before_the_sharp_stages_and_single_steps_are_not(evidence, known):
    found = evidence(4, batch_size=2, lr=0.01)
    assert found.features
    if not known:
        found = changed(found, features={})
    several = recipe(found, 4, large=False)
    assert [stage.regroup for stage in several[:2]] == [True, True]
    assert all(stage.features == known for stage in several[:2])
    assert all(stage.per_image != known for stage in several[:2])
    assert several[2:]
    assert not any(stage.regroup or stage.per_image for stage in several[2:])
    assert not any(stage.regroup for stage in recipe(evidence(2), 2, large=False))


def test_without_a_row_space_the_statistics_remain(evidence):
    found = evidence()
    found = changed(found, spans={})
    assert recipe(found, 1, large=False) == (STATISTICS,)


def test_rows_that_may_be_noisy_have_to_prove_themselves(evidence):
    found = evidence()
    (rows,) = last_stages(found)
    assert (rows.covers, rows.near, rows.proven) == ("first", True, False)
    assert recipe(found, 1, large=False)[-1] == rows
    name, cover = next(iter(found.covers.items()))
    noisy = {name: replace(cover, rows=replace(cover.rows, noise=0.006))}
    soft, proven = last_stages(changed(found, covers=noisy))
    assert proven == replace(rows, proven=True)
    assert soft.covers == "none"
    assert last_stages(changed(found, covers={})) == (soft,)


def test_where_features_lie_behind_several_row_spaces_statistics_lead(evidence):
    found = evidence()
    assert not lies_deep(found)
    deep = changed(found, features={list(found.spans)[-1]: next(iter(found.features.values()))})
    assert lies_deep(deep)
    plans = [recipe(deep, 1, large=False, attempt=k) for k in range(3)]
    assert plans == [deep_network(deep, k) for k in range(3)]
    assert all(plan[-1].norms == plan[-1].spans == "all" for plan in plans)
    assert lies_deep(changed(found, features={}))
    assert not lies_deep(changed(deep, norms=()))


def test_without_rows_to_finish_statistics_lead_for_longer(evidence):
    found = changed(evidence(), features={})
    rows, none = (deep_network(r, 0)[0] for r in (found, changed(found, covers={})))
    assert none.descent.iterations > rows.descent.iterations


def test_without_statistics_the_second_way_uses_every_row_space(evidence):
    found = evidence(knowledge=Knowledge(bn_statistics=False))
    second = recipe(found, 1, large=False, attempt=1)
    assert [stage.spans for stage in second] == ["all", "all"]
    assert [stage.descent.iterations for stage in second] == [
        stage.descent.iterations for stage in without_statistics()
    ]
    assert second[-1].covers == "shallow"
