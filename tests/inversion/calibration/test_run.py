"""Tests of medleak.inversion.calibration.run, and of ``medleak calibrate`` on top of it."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from nvflare.apis.workspace import Workspace
from nvflare.private.fed.app.fl_conf import create_privacy_manager
from tests.inversion.audit.audits import fake
from typer.testing import CliRunner

from medleak.custom.record import read_record
from medleak.filters import doctor
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.attacks.registry import ATTACKS
from medleak.inversion.audit.health import easy_image, easy_record
from medleak.inversion.audit.plan import Plan
from medleak.inversion.calibration.run import calibrate, policy, read_calibration
from medleak.inversion.calibration.search import mechanism
from medleak.inversion.cli import app
from medleak.inversion.results.rows import read_rows

LIMIT = 0.3


@pytest.fixture
def federation(make_run, monkeypatch):
    """(run, its attack): it finds the image of any update with less noise than ``LIMIT``."""
    run = make_run({"site-9": 1}, rounds=(0, 4))
    record = read_record(run.records, 4, "site-9")
    image, label = easy_image(record.manifest.input)
    easy = easy_record(record, image, label)

    def images_of(observation):
        update = observation.parameter_update
        for known, answer in ((record, run.images("site-9", 16)), (easy, image)):
            apart = sum(
                float((v - torch.tensor(known.update[n])).norm()) for n, v in update.items()
            )
            if apart < LIMIT * sum(float(torch.tensor(known.update[n]).norm()) for n in update):
                return answer
        return torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    table = fake(images_of)
    monkeypatch.setitem(ATTACKS, "fake", table["fake"])
    return run, table


def protects(run, strength, seed=0):
    """Whether the noise hides the image from the attack of `federation`."""
    record = read_record(run.records, 4, "site-9")
    text = f"percentile_gaussian:sigma0={strength:g},scope=group"
    rng = NoiseSource.seeded(seed, 4, "site-9", text)
    sent = defence(text)(record.update, rng=rng, global_state=record.global_state)
    names = [n for n in record.update if "running" not in n and "tracked" not in n]
    apart = [torch.tensor(sent[n] - record.update[n]).norm() for n in names]
    whole = [torch.tensor(record.update[n]).norm() for n in names]
    return float(sum(apart)) >= LIMIT * float(sum(whole))


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
    assert {(r.defence, r.seed) for r in rows} == {
        ("none" if p.strength == 0 else noise.text(p.strength), seed)
        for p in first.searched
        for seed in p.seeds
    }
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
    found = [c for scope in policy(text)["scopes"] for c in doctor.scope_checks(scope, kit)]
    assert found
    assert [c for c in found if c.status == "failed"] == []
    (kit / "startup" / "fed_client.json").write_text("{}")
    manager = create_privacy_manager(Workspace(str(kit), "site-1"), names_only=False)
    assert manager is not None
    scope = manager.name_to_scopes["default"]
    names = [type(f).__name__ for f in scope.task_result_filters["out"]]
    assert names[-1] == "PrivacyLedger"
    assert len(names) == 2 + text.count("+")


def medleak(*args):
    return CliRunner().invoke(app, [str(a) for a in args], env={"COLUMNS": "120"})


def test_the_command_finds_a_strength_and_prints_what_to_paste(federation, tmp_path):
    run, _ = federation
    report = run.root / "server" / "simulate_job" / "test_metrics.json"
    accuracy = {"value": 0.8, "lower95": 0.7, "upper95": 0.9}
    report.write_text(json.dumps({"n": 50, "accuracy": accuracy}))
    out = tmp_path / "audit"
    command = ["calibrate", run.root, "--attack", "fake", "--scope", "group", "--seeds", 2]
    command += ["--low", 0.05, "--high", 5, "--tolerance", 2]
    result = medleak(*command, "--utility", f"0={run.root}", "-o", out)
    assert result.exit_code == 0, result.output
    entry = read_calibration(out)["site-9"]
    assert (entry["defence"], entry["scope"]) == ("percentile_gaussian:scope=group", "group")
    assert entry["rounds"] == [4]  # the last, by default
    assert protects(run, entry["strength"])
    assert f'"sigma0": {entry["strength"]:g}' in result.output
    assert entry["privacy_json"]["scopes"][0]["task_result_filters"][0]["args"]["scope"] == "group"
    assert entry["utility"][0]["accuracy"] == 0.8
    assert "test accuracy 0.800 (0.700 to 0.900, 50 images" in result.output
    assert f'--defence "percentile_gaussian:sigma0={entry["strength"]:g},scope=group"' in (
        result.output
    )
    assert "about noise and starts alone" in result.output
    assert "safe" not in result.output.lower()
    assert json.loads((out / "utility.json").read_text())[0]["defence"] == "none"
    as_json = medleak(*command, "--utility", f"0={run.root}", "-o", out, "--json")
    assert json.loads(as_json.stdout)["sites"]["site-9"] == entry


def test_none_in_range_is_said_and_fails(federation, tmp_path):
    run, _ = federation
    out = tmp_path / "audit"
    args = ("--attack", "fake", "--scope", "group", "--seeds", 2, "--high", 0.02, "-o", out)
    result = medleak("calibrate", run.root, *args)
    assert result.exit_code == 1
    assert "none in range: at sigma0=0.02" in result.output
    assert "1 of 1 sites have no protecting strength" in result.stderr
    assert read_calibration(out)["site-9"]["strength"] is None
    assert read_calibration(out)["site-9"]["privacy_json"] is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--defence", "prayer"], "Unknown defence 'prayer'"),
        (["--defence", "sign"], "name its number"),
        (["--low", "5", "--high", "1"], "is empty"),
        (["--site", "site-7"], "Site site-7 is not in"),
        (["--utility", "much=runs"], "'much' is no number"),
        (["--utility", "1=nowhere"], "Run 'nowhere' does not exist"),
        (["--tolerance", "1"], "ratio of two strengths"),
        (["--seconds", "3"], "has no 'seconds'"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_one_line(federation, tmp_path, args, said):
    run, _ = federation
    out = tmp_path / "audit"
    result = medleak("calibrate", run.root, "--attack", "fake", "-o", out, *args)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert said in line
    assert not Path(out).exists()
