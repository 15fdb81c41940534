"""Tests of medleak.inversion.audit_case: what reaches the attack, and what does not."""

import dataclasses

import numpy as np
import pytest
import torch
from tests.inversion.audits import NOISY, fake, outcomes, plan_of

from medleak.custom.record import ModelSpec, read_record
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.observation import Knowledge
from medleak.inversion.prior import load_prior


def test_the_attack_gets_what_knowledge_grants_and_never_the_truth(make_run, tmp_path, monkeypatch):
    run = make_run()
    opened = []
    monkeypatch.setattr(
        "medleak.inversion.evaluation.load_truth",
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
