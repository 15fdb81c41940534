"""Tests of medleak.inversion.calibration.run, and of ``medleak calibrate`` on top of it."""

import dataclasses
import json

import pytest
import torch
from nvflare.apis.workspace import Workspace
from nvflare.private.fed.app.fl_conf import create_privacy_manager
from tests.inversion.audit.audits import fake
from tests.inversion.calibration.federations import protects

from medleak.custom.record import read_record
from medleak.filters import doctor
from medleak.filters.policy import policy
from medleak.inversion.audit.health import easy_image, easy_record
from medleak.inversion.audit.plan import Plan
from medleak.inversion.calibration.members import NobodyTold
from medleak.inversion.calibration.run import calibrate
from medleak.inversion.calibration.search import mechanism
from medleak.inversion.results.rows import read_rows

pytestmark = pytest.mark.slow


def plan_for(run, tmp_path):
    return Plan(
        records=run.records,
        out=tmp_path / "audit",
        rounds=[4],
        attacks=["fake"],
        seeds=[0, 1],
        prior="phantoms",
    )


def test_probes_are_cases_of_the_audit_and_a_repeated_search_attacks_nothing(federation, tmp_path):
    run, table = federation
    noise = mechanism("percentile_gaussian:scope=group", low=0.05, high=5)
    (first,) = calibrate(plan_for(run, tmp_path), noise, attacks=table, tolerance=1.5)
    assert first.strength is not None, first.why
    assert protects(run, first.strength)
    assert not protects(run, first.strength / 1.55)
    rows = read_rows(tmp_path / "audit" / "results.csv")
    probed = {
        ("none" if p.strength == 0 else noise.text(p.strength), seed)
        for p in first.searched
        for seed in p.seeds
    }
    alone = {(f"{text}+noise_alone".removeprefix("none+"), seed) for text, seed in probed}
    assert {(r.defence, r.seed) for r in rows} == probed | alone
    groups = json.loads((tmp_path / "audit" / "summary.json").read_text())["sites"]
    assert {g["defence"] for g in groups} == {text for text, _ in probed}  # a null is no evidence
    before = (tmp_path / "audit" / "results.csv").read_bytes()

    def idle(observation):
        raise AssertionError("every probe is there already")

    (again,) = calibrate(plan_for(run, tmp_path), noise, attacks=fake(idle), tolerance=1.5)
    assert again == first
    assert (tmp_path / "audit" / "results.csv").read_bytes() == before
    config = json.loads((tmp_path / "audit" / "config.json").read_text())
    assert len(config["runs"]) == 1


def test_a_search_that_was_interrupted_goes_on_to_the_same_answer(federation, tmp_path):
    run, table = federation
    noise = mechanism("percentile_gaussian:scope=group", low=0.01, high=1)
    options = {"attacks": table, "tolerance": 3.0}
    (whole,) = calibrate(plan_for(run, tmp_path / "whole"), noise, **options)
    plan = plan_for(run, tmp_path / "cut")
    calls = []

    def interrupt(task):
        calls.append(task)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return lambda state: None

    with pytest.raises(KeyboardInterrupt):
        list(calibrate(plan, noise, **options, watch=interrupt))
    assert list(calibrate(plan, noise, **options)) == [whole]


def test_a_case_that_the_machine_lost_is_no_protection(federation, tmp_path):
    run, _ = federation

    def crash(observation):
        raise RuntimeError("CUDA out of memory")

    noise = mechanism("percentile_gaussian:scope=group")
    with pytest.raises(RuntimeError, match=r"site-9, none: CUDA out of memory"):
        list(calibrate(plan_for(run, tmp_path), noise, attacks=fake(crash)))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [({"seeds": [0]}, {}, "has no interval"), ({}, {"tolerance": 1.0}, "ratio of two strengths")],
)
def test_a_search_without_interval_or_end_is_refused(make_run, tmp_path, changes, options, message):
    plan = dataclasses.replace(plan_for(make_run(rounds=(4,)), tmp_path), **changes)
    with pytest.raises(ValueError, match=message):
        list(calibrate(plan, mechanism("percentile_gaussian"), **options))
    assert not plan.out.exists()


@pytest.mark.parametrize(
    "text",
    [
        "percentile_gaussian:sigma0=3.16,scope=group",
        "clipped_gaussian:noise_multiplier=2,max_grad_norm=1",
        "laplace_perturbation:scale=0.1,lr=0.01",
        "top_k:fraction=0.01",
        "quantisation:bits=4",
        "withhold+percentile_gaussian:sigma0=3,scope=group",
    ],
)
def test_the_policy_is_one_that_nvflare_loads_and_the_doctor_passes(text, tmp_path):
    kit = tmp_path / "site-1"
    (kit / "startup").mkdir(parents=True)
    (kit / "local").mkdir()
    (kit / "local" / "privacy.json").write_text(json.dumps(policy(text)))
    _, found = doctor.site_policy(kit)
    assert {c.name for c in found} == {"site policy", "scope 'default'"}
    assert [c for c in found if c.status == "failed"] == []
    (kit / "startup" / "fed_client.json").write_text("{}")
    manager = create_privacy_manager(Workspace(str(kit), "site-1"), names_only=False)
    assert manager is not None
    scope = manager.name_to_scopes["default"]
    names = [type(f).__name__ for f in scope.task_result_filters["out"]]
    assert names[-2:] == ["PrivacyLedger", "SentinelNotes"]
    assert len(names) == 3 + text.count("+")


def test_a_search_over_more_sites_than_sent_is_refused_at_once(make_run, tmp_path):
    plan = plan_for(make_run({"site-1": 1, "site-2": 1}, rounds=(4,)), tmp_path)
    chosen = mechanism("secure_aggregation", high=3)
    assert chosen.whole
    assert chosen.text(2) == "secure_aggregation:sites=2"
    with pytest.raises(ValueError, match="2 sent an update in round 4"):
        list(calibrate(plan, chosen))
    assert not plan.out.exists()


def finder(run, too_many):
    """An attack that finds the images of any update but of noise and of ``too_many`` of them."""
    record = read_record(run.records, 0, "site-9")
    image, label = easy_image(record.manifest.known_input())
    easy = torch.tensor(easy_record(record, image, label).update["fc.bias"])

    def images_of(observation):
        update = observation.parameter_update
        first = next(v for v in update.values() if v.dim() == 4)
        told = torch.corrcoef(first[:, :2].transpose(0, 1).flatten(1))[0, 1] > 0.9  # not shuffled
        if torch.allclose(update["fc.bias"], easy):
            return image
        if told and observation.n_images not in too_many:
            return run.images("site-9", 16)[: observation.n_images]
        random = torch.Generator().manual_seed(0)
        return torch.rand(observation.n_images, 1, 16, 16, generator=random)

    return images_of


def test_images_a_step_are_searched_until_nothing_comes_back(make_run, tmp_path):
    run = make_run({"site-9": 6})
    step = mechanism("minimum_batch", low=3, high=5)
    assert step.whole
    plan = dataclasses.replace(plan_for(run, tmp_path), rounds=[0])
    (found,) = calibrate(plan, step, attacks=fake(finder(run, (4, 5))))
    assert found.strength == 4.0, found.why
    written = json.loads((tmp_path / "audit" / "calibration.json").read_text())["site-9"]
    assert (written["defence"], written["parameter"]) == ("minimum_batch", "step")
    assert written["privacy_json"] is None


def test_more_images_a_step_than_a_site_has_are_refused_at_once(make_run, tmp_path):
    run = make_run({"site-9": 3})
    plan = dataclasses.replace(plan_for(run, tmp_path), rounds=[0])
    with pytest.raises(ValueError, match="site-9 has 3"):
        next(calibrate(plan, mechanism("minimum_batch", low=1, high=8)))
    assert not plan.out.exists()
    with pytest.raises(ValueError, match="is not asked"):
        next(calibrate(plan, mechanism("minimum_batch", low=1, high=3), goal=NobodyTold()))


def test_a_step_that_an_attack_cannot_examine_is_no_protection(make_run, tmp_path):
    run = make_run({"site-9": 4})

    def fail(observation):
        if observation.n_images == 2:
            raise ValueError("more than can be told apart")

    plan = dataclasses.replace(plan_for(run, tmp_path), rounds=[0])
    table = fake(finder(run, ()), fail=fail)
    step = mechanism("minimum_batch", low=2, high=3)
    with pytest.raises(ValueError, match=r"could not examine site-9 .*more than can be told apart"):
        list(calibrate(plan, step, attacks=table))
