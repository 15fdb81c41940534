"""Tests of medleak.inversion.cli.shared.options."""

import os
from pathlib import Path

import pytest

from medleak.custom.record import RecordError, read_manifest
from medleak.inversion.cli.shared.options import (
    Identification,
    Machine,
    References,
    attacks_of,
    default_out,
    default_prior,
    plan_of,
    records_of,
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_plan_without_options_is_about_the_newest_run_and_has_a_directory_of_its_own(make_run):
    run = make_run()
    plan = plan_of(None, None, References(), Identification(), Machine(device="cpu"), seeds=[3])
    assert plan.records.samefile(run.records)
    assert plan.out == default_out(read_manifest(run.records))
    assert (plan.prior, plan.neighbours, plan.device, list(plan.seeds)) == (
        "phantoms",
        1,
        "cpu",
        [3],
    )


def test_a_plan_says_what_its_options_say(make_run):
    run = make_run()
    plan = plan_of(
        run.root,
        Path("a"),
        References(truth=Path("lists"), prior="gray"),
        Identification(embedding="w.pth", k=2),
        Machine(device="cuda:1", allow_model=["mylab."]),
        perceptual="alexnet",
    )
    assert (plan.out, plan.truth, plan.prior) == (Path("a"), Path("lists"), "gray")
    assert (plan.embedding, plan.neighbours, plan.perceptual) == ("w.pth", 2, "alexnet")
    assert (plan.device, plan.allowed_prefixes) == ("cuda:1", ["mylab."])


def test_the_newest_run_is_the_default(make_run):
    old, new = make_run(name="workspace/old"), make_run(name="workspace/new")
    os.utime(old.records / "manifest.json", (1, 1))
    assert records_of(None).samefile(new.records)
    os.utime(new.records / "manifest.json", (0, 0))
    assert records_of(None).samefile(old.records)


@pytest.mark.parametrize(("run", "why"), [(None, "no run to take by default"), (Path("x"), "RUN")])
def test_a_run_that_is_not_there_is_named(run, why):
    with pytest.raises(RecordError, match=why):
        records_of(run)


def test_every_attack_stands_once_and_joining_rounds_behind():
    assert attacks_of(["dlg", "idlg", "dlg"], average=False) == ["dlg", "idlg"]
    assert attacks_of(["dlg"], average=True) == ["dlg", "average/dlg"]


def test_without_a_prior_gray_images_start_from_phantoms_and_colour_from_gray():
    assert [default_prior(channels) for channels in (1, 3)] == ["phantoms", "gray"]
