"""Tests of medleak.inversion.audit.attacker: what reaches the attack, and what does not."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from tests.inversion.audit.audits import NOISY, Fake, fake, outcomes, plan_of

from medleak.custom.record import ModelSpec, read_record, write_record
from medleak.custom.record.keeping.pruning import plan_pruning, prune
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.attacks.registry import AttackKind
from medleak.inversion.images.prior import load_prior
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import ssim
from medleak.inversion.reconstruction import Progress, Reconstruction
from medleak.inversion.statement import Given

pytestmark = pytest.mark.slow


def test_the_attack_gets_what_knowledge_grants_and_never_the_truth(make_run, tmp_path, monkeypatch):
    run = make_run()
    opened = []
    monkeypatch.setattr(
        "medleak.inversion.audit.evaluation.load_truth",
        lambda *a: opened.append(a) or pytest.fail("opened"),
    )
    calls = []

    def spy(observation):
        assert not opened
        calls.append(observation)
        raise ValueError("seen enough")

    table = fake(lambda _: torch.zeros(1, 1, 16, 16), fail=spy)
    knowledge = [Knowledge(), Knowledge(bn_statistics=False, labels="known")]
    outcomes(plan_of(run, tmp_path, knowledge=knowledge), table)
    assert [o.knowledge for o in calls] == knowledge
    assert calls[1].labels.tolist() == [0]
    assert not opened


def test_without_the_knowledge_of_a_prior_the_attack_gets_none(make_run, tmp_path):
    run = make_run()
    calls = []
    plan = plan_of(run, tmp_path, knowledge=[Knowledge(), Knowledge(prior=False)])
    outcomes(plan, fake(lambda _: run.images("site-9", 16), calls))
    torch.testing.assert_close(calls[0][1], load_prior("phantoms", (16, 16), 1))
    assert calls[1][1] is None


def test_a_defence_is_replayed_with_the_function_of_the_filters(make_run, tmp_path):
    run = make_run()
    calls = []
    plan = plan_of(run, tmp_path, defences=["none", NOISY], seeds=[4])
    outcomes(plan, fake(lambda _: run.images("site-9", 16), calls))
    record = read_record(run.records, 0, "site-9")
    rng = NoiseSource.seeded(4, 0, "site-9", NOISY)
    update = dict(sorted(record.update.items()))
    noised = defence(NOISY)(update, rng=rng, global_state=record.global_state)
    for observation, update in ((calls[0][0], record.update), (calls[1][0], noised)):
        for name, value in observation.parameter_update.items():
            np.testing.assert_array_equal(value.numpy(), update[name])


def test_a_seed_repeats_its_noise_and_another_has_new_noise_and_a_new_start(make_run, tmp_path):
    run = make_run()
    calls = []
    plan = plan_of(run, tmp_path, defences=[NOISY], seeds=[0, 1])
    table = fake(lambda _: run.images("site-9", 16), calls)
    outcomes(plan, table)
    outcomes(dataclasses.replace(plan, out=tmp_path / "again"), table)
    (first, _, start), (second, _, other_start), (again, *_), _ = calls
    name = first.parameter_names[0]
    assert not torch.equal(first.parameter_update[name], second.parameter_update[name])
    assert torch.equal(first.parameter_update[name], again.parameter_update[name])
    assert start != other_start


def test_a_record_of_another_model_is_refused(make_run, tmp_path):
    other = ModelSpec(path="torchvision.models.squeezenet1_1", args={"num_classes": 2})
    run = make_run(model=other)
    (outcome,) = outcomes(plan_of(run, tmp_path), fake(lambda _: run.images("site-9", 16)))
    assert "belongs to another network" in outcome.refused
    assert not (tmp_path / "audit" / "results.csv").exists()


def test_a_model_outside_the_allowed_packages_is_not_built(make_run, tmp_path):
    run = make_run(model=ModelSpec(path="os.system", args={"command": "true"}))
    (outcome,) = outcomes(plan_of(run, tmp_path), fake(lambda _: run.images("site-9", 16)))
    assert "'os.system'" in outcome.refused


def test_known_labels_need_a_truth_list(make_run, tmp_path):
    run = make_run()
    (run.root / "site-9" / "simulate_job" / "datalist.json").unlink()
    plan = plan_of(run, tmp_path, knowledge=[Knowledge(labels="known")])
    (outcome,) = outcomes(plan, fake(lambda _: torch.full((1, 1, 16, 16), 0.5)))
    assert "no truth list to take them from" in outcome.refused


def _averaging(calls):
    """An attack table whose attack joins rounds by remembering what it was shown."""

    def join(attack, observations, prior, *, generator, on_progress=None):
        calls.append([o.parameter_update["conv1.weight"].clone() for o in observations])
        return run(attack, observations[-1], prior, generator=generator)

    def run(attack, observation, prior, *, generator, on_progress=None):
        calls.append(observation)
        return Reconstruction(
            images=torch.full((1, 1, 16, 16), 0.5),
            labels=None,
            losses={},
            history=torch.zeros(1),
            iterations=1,
            seconds=0.1,
        )

    return {"fake": lambda: AttackKind(Fake, run, join)}


def test_an_averaging_attack_sees_all_rounds_up_to_its_own_each_under_its_own_noise(
    make_run, tmp_path
):
    run = make_run({"site-1": 1, "site-2": 1}, rounds=(0, 2, 5, 7))
    calls = []
    attacks = ["fake", "average/fake"]
    plan = plan_of(run, tmp_path, attacks=attacks, rounds=[2, 5], sites=["site-2"])
    plan = dataclasses.replace(plan, defences=[NOISY], seeds=[4])
    found = outcomes(plan, _averaging(calls))
    assert [(o.case.round, o.case.attack) for o in found] == [
        (2, "fake"),
        (5, "fake"),
        (5, "average/fake"),
    ]
    (joined,) = (c for c in calls if isinstance(c, list))
    assert len(joined) == 3
    for round, seen in zip((0, 2, 5), joined, strict=True):
        record = read_record(run.records, round, "site-2")
        rng = NoiseSource.seeded(4, round, "site-2", NOISY)
        noised = defence(NOISY)(record.update, rng=rng, global_state=record.global_state)
        np.testing.assert_array_equal(seen.numpy(), noised["conv1.weight"])
    assert not torch.equal(joined[0], joined[1])
    assert [row.attack for row in found[2].rows] == ["average/fake"]


def test_an_attack_that_cannot_join_rounds_is_refused_before_anything_is_written(
    make_run, tmp_path
):
    plan = plan_of(make_run(), tmp_path, attacks=["average/fake"])
    with pytest.raises(ValueError, match="Attack fake cannot join several rounds"):
        outcomes(plan, fake(lambda _: torch.zeros(1, 1, 16, 16)))
    assert not plan.out.exists()


@pytest.mark.parametrize("pruned", [(), (0,), (0, 2)])
@pytest.mark.parametrize("which", ["previous", "initial"])
def test_a_stale_global_model_is_that_of_an_earlier_round_also_where_it_alone_was_kept(
    make_run, tmp_path, which, pruned
):
    run = make_run(rounds=(0, 2, 5))
    for round in (0, 2, 5):
        record = read_record(run.records, round, "site-9")
        state = {k: np.full_like(v, round + 1) for k, v in record.global_state.items()}
        shutil.rmtree(run.records / f"round_{round:04d}")
        write_record(run.records, record.info, state, record.update)
    if pruned:
        prune(plan_pruning(run.records, rounds=pruned))
    expected = 2 if which == "previous" and 2 not in pruned else 0
    calls = []
    plan = plan_of(run, tmp_path, rounds=[5], knowledge=[Knowledge(model_round=which)])
    outcomes(plan, fake(lambda _: torch.full((1, 1, 16, 16), 0.5), calls))
    assert float(next(calls[0][0].network().parameters()).detach().max()) == expected + 1


def test_without_an_earlier_round_a_stale_model_is_refused_by_name(make_run, tmp_path):
    plan = plan_of(make_run(rounds=(3,)), tmp_path, knowledge=[Knowledge(model_round="previous")])
    (outcome,) = outcomes(plan, fake(lambda _: torch.full((1, 1, 16, 16), 0.5)))
    assert "has the previous global model, but no round before 3 is recorded" in outcome.refused


def test_a_wrong_prior_goes_to_the_attack_and_rdlv_stays_relative_to_the_given_one(
    make_run, tmp_path
):
    run = make_run()
    calls = []
    knowledge = [Knowledge(), Knowledge(prior_image="gray"), Knowledge(prior_image="other")]
    plan = plan_of(run, tmp_path, knowledge=knowledge)
    found = outcomes(plan, fake(lambda _: run.images("site-9", 16), calls))
    given, gray, other = (prior for _, prior, _ in calls)
    assert torch.equal(gray, torch.full((1, 1, 16, 16), 0.5))
    assert float(ssim(given, other)) < 0.6
    assert len({outcome.rows[0].ssim_prior for outcome in found}) == 1


def test_iterations_of_an_attack_are_kept_as_pictures(make_run, tmp_path):
    run = make_run({"site-1": 2})
    shown = torch.linspace(-0.5, 1.5, 2 * 256).reshape(2, 1, 16, 16)

    def attack(settings, observation, prior, *, generator, on_progress=None):
        for k in range(10):
            images = None if k == 9 else shown
            assert on_progress is not None
            on_progress(Progress(iteration=k + 1, total=10, loss=0.1, seconds=0.1, images=images))
        return Reconstruction(
            images=shown.clamp(0, 1),
            labels=None,
            losses={},
            history=torch.zeros(1),
            iterations=10,
            seconds=0.1,
        )

    plan = plan_of(run, tmp_path, keep_iterations=4)
    (outcome,) = outcomes(plan, {"fake": lambda: AttackKind(Fake, attack)})
    names = sorted(p.name for p in plan.out.glob("images/*_it*.png"))
    case = outcome.case.name
    assert names == [f"{case}_{k}_it{i:04d}.png" for k in (0, 1) for i in (1, 4, 6, 9)]


def test_momentum_of_an_earlier_round_is_taken_off_where_that_round_is_recorded(make_run, tmp_path):
    run = make_run({"site-9": 1}, rounds=(0, 1, 3))
    calls = []
    given = Given(schedule={"optimizer": "sgd", "momentum": 0.5, "state_kept": True})
    plan = plan_of(run, tmp_path, given=given)
    outcomes(plan, fake(lambda _: run.images("site-9", 16), calls))
    seen = dict(zip((0, 1, 3), (o for o, *_ in calls), strict=True))
    assert [seen[n].fresh_state for n in (0, 1, 3)] == [True, True, False]
    before, now = (read_record(run.records, n, "site-9").update for n in (0, 1))
    for name, value in seen[1].parameter_update.items():
        np.testing.assert_allclose(value.numpy(), now[name] - 0.5 * before[name], atol=1e-7)
