"""Tests of medleak.inversion.audit.run: the tables and pictures of an audit directory."""

import csv
import dataclasses
import doctest
import json

import pytest
import torch
from PIL import Image
from tests.inversion.audit.audits import fake, outcomes, plan_of

from medleak.custom.record import read_manifest
from medleak.filters.registry import defence
from medleak.inversion.audit import run as audit_run
from medleak.inversion.audit.evaluation import Evaluator
from medleak.inversion.images.prior import load_prior
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.embedding import EmbeddingError
from medleak.inversion.measures.similarity import ssim
from medleak.inversion.reconstruction import Reconstruction
from medleak.inversion.results.case import Case
from medleak.inversion.results.rows import COLUMNS, read_rows

pytestmark = pytest.mark.slow


def test_an_exact_reconstruction_reads_as_one(make_run, tmp_path):
    run = make_run()
    plan = plan_of(run, tmp_path)
    (outcome,) = outcomes(plan, fake(lambda _: run.images("site-9", 16)))
    (row,) = outcome.rows
    prior = load_prior("phantoms", (16, 16), 1)
    expected = ssim(run.images("site-9", 16), prior).item()
    assert (row.ssim, row.mse, row.psnr) == (1.0, 0.0, 100.0)
    assert row.ssim_prior == pytest.approx(expected, rel=1e-5)
    assert row.rdlv == pytest.approx(1 / expected - 1, rel=1e-4)
    assert row.truth_image == "training[0]"
    assert (row.iterations, row.attempts, row.stuck, row.seconds) == (2, 3, False, 0.25)
    assert row.losses == "bn=0.002 span=1e-07"


def test_no_file_name_of_a_patient_gets_into_the_audit_directory(make_run, tmp_path):
    run = make_run()
    plan = plan_of(run, tmp_path)
    outcomes(plan, fake(lambda _: run.images("site-9", 16)))
    (image,) = run.root.glob("site-9/**/*.png")
    files = [file for file in plan.out.glob("**/*") if file.is_file()]
    assert files
    for file in files:
        assert image.stem.encode() not in file.read_bytes(), file


def test_the_audit_directory_is_as_the_design_says(make_run, tmp_path):
    run = make_run({"site-1": 2, "site-9": 1}, rounds=(0, 1))
    plan = plan_of(run, tmp_path)
    command = ["medleak", "audit", "RUN"]
    table = fake(lambda o: run.images("site-1" if o.n_images == 2 else "site-9", 16))
    outcomes(plan, table, command=command)
    with (plan.out / "results.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    named = "round site attack defence knowledge seed truth_image ssim ssim_tmi psnr mse"
    assert set(f"{named} ssim_prior rdlv iip_match seconds iterations".split()) <= set(lines[0])
    assert tuple(lines[0]) == COLUMNS
    assert len(lines) == 1 + 6
    summary = json.loads((plan.out / "summary.json").read_text())
    assert [(s["site"], s["n"]) for s in summary["sites"]] == [("site-1", 4), ("site-9", 2)]
    assert summary["sites"][0]["ssim"]["min"] == 1.0
    assert len(summary["cases"]) == 4
    assert summary["health"]["stuck"] == 0
    config = json.loads((plan.out / "config.json").read_text())
    assert config["runs"][0]["command"] == command
    assert config["attacks"] == {"fake": {"error": 0.0, "stuck": False}}
    assert config["knowledge"]["all, labels inferred"] == dataclasses.asdict(Knowledge())
    assert len(config["prior"]["sha256"]) == 64
    assert set(config["updates"]) == {f"{r}/{s}" for r in (0, 1) for s in ("site-1", "site-9")}
    assert config["updates"]["0/site-9"]["update"] == _hash(run, 0, "site-9")
    for row in read_rows(plan.out / "results.csv"):
        with Image.open(plan.out / row.picture) as picture:
            assert picture.size == (16, 16)
            assert not picture.info
        with Image.open(plan.out / "images" / f"{row.case.name}.png") as panel:
            assert panel.width > 3 * 192


def _hash(run, round, site):
    return json.loads((run.records / f"round_{round:04d}" / f"{site}.json").read_text())["sha256"][
        "update"
    ]


def test_declared_defences_stand_in_the_form_that_the_command_takes(make_run, tmp_path):
    declared = {"name": "percentile_gaussian", "args": {"sigma0": 10.0, "scope": "update"}}
    run = make_run(defences=(declared,))
    (outcome,) = outcomes(plan_of(run, tmp_path), fake(lambda _: run.images("site-9", 16)))
    assert outcome.rows[0].declared == "percentile_gaussian:sigma0=10.0,scope=update"
    assert outcome.rows[0].defence == "none"
    assert defence(outcome.rows[0].declared).name == "percentile_gaussian"


def test_reconstructions_are_assigned_to_the_images_whatever_their_order(make_run, tmp_path):
    run = make_run({"site-1": 3})
    images = run.images("site-1", 16)
    (outcome,) = outcomes(plan_of(run, tmp_path), fake(lambda _: images[[2, 0, 1]]))
    assert [row.ssim for row in outcome.rows] == [1.0, 1.0, 1.0]
    names = [row.truth_image for row in outcome.rows]
    assert len(set(names)) == 3
    assert [row.truth_picture[-5] for row in outcome.rows] == ["2", "0", "1"]


def test_a_colour_guess_at_a_gray_image_is_compared_as_gray(make_run, tmp_path):
    run = make_run()
    gray = run.images("site-9", 16)
    tint = gray + torch.tensor([0.01, 0.0, -0.01])[None, :, None, None]
    plan = plan_of(run, tmp_path, knowledge=[Knowledge(channels=False)])
    (outcome,) = outcomes(plan, fake(lambda _: tint.clamp(0, 1)))
    assert outcome.rows[0].ssim > 0.99


def test_a_colour_run_is_audited_in_colour(make_run, tmp_path):
    run = make_run(channels=3)
    plan = plan_of(run, tmp_path, prior="gray")
    (outcome,) = outcomes(plan, fake(lambda _: run.images("site-9", 16, 3)))
    assert outcome.rows[0].ssim == 1.0
    with Image.open(plan.out / outcome.rows[0].picture) as picture:
        assert picture.mode == "RGB"


def test_without_any_truth_images_are_reconstructed_and_nothing_is_measured(make_run, tmp_path):
    run = make_run()
    images = run.images("site-9", 16)
    (run.root / "site-9" / "simulate_job" / "datalist.json").unlink()
    plan = plan_of(run, tmp_path)
    (outcome,) = outcomes(plan, fake(lambda _: images))
    assert outcome.rows[0].ssim is None
    assert outcome.rows[0].rdlv is None
    summary = json.loads((plan.out / "summary.json").read_text())
    assert summary["cases"][0]["verdict"].startswith("not measured")
    assert (plan.out / outcome.rows[0].picture).exists()


def test_progress_is_told_for_each_case(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1})
    told = []
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    outcomes(
        plan_of(run, tmp_path),
        table,
        watch=lambda case: lambda progress: told.append((case.site, progress.loss)),
    )
    assert told == [("site-1", 0.5), ("site-2", 0.5)]


def test_figures_of_more_reconstructions_than_images_are_left_empty(make_run, tmp_path):
    run = make_run()
    case = Case(0, "site-9", "fake", "none", "all", 0)
    kind = fake(lambda _: run.images("site-9", 16).repeat(2, 1, 1, 1))["fake"]()
    plan = plan_of(run, tmp_path)
    assert plan.cases()
    (outcome,) = outcomes(plan, {"fake": lambda: kind})
    assert [row.ssim is None for row in outcome.rows].count(True) == 1
    spec = read_manifest(run.records).known_input()
    evaluator = Evaluator({"site-9": None}, spec, torch.zeros(1, 1, 16, 16))
    assert evaluator.rows(case, _found(), ())[0].ssim is None


def _found():
    return Reconstruction(
        images=torch.zeros(1, 1, 16, 16),
        labels=None,
        losses={},
        history=torch.zeros(1),
        iterations=1,
        seconds=0.0,
    )


def test_the_example_in_the_documentation_runs(make_run, monkeypatch):
    monkeypatch.chdir(make_run().root.parent)
    example = "medleak.inversion.audit.run.audit"
    (test,) = [t for t in doctest.DocTestFinder().find(audit_run) if t.name == example]
    failed, tried = doctest.DocTestRunner().run(test)
    assert (failed, tried) == (0, 3)


def test_what_is_wrong_with_a_plan_is_said_by_the_call_before_anybody_loops(make_run, tmp_path):
    run = make_run()
    absent = plan_of(run, tmp_path, sites=["site-1"])
    with pytest.raises(ValueError, match="Site site-1 is not in"):
        audit_run.audit(absent, attacks=fake(lambda _: None))
    blind = plan_of(run, tmp_path, embedding="nowhere.safetensors")
    with pytest.raises(EmbeddingError, match=r"nowhere\.safetensors"):
        audit_run.audit(blind, attacks=fake(lambda _: None))
    assert not absent.out.exists()
