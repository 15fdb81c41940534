"""Tests of medleak.inversion.cli.shared.options."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from medleak.custom.record import RecordError, read_manifest
from medleak.inversion.attacks.registry import ATTACKS, AttackKind
from medleak.inversion.cli import app
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
from medleak.inversion.reconstruction import Progress, Reconstruction
from medleak.inversion.results.rows import read_rows


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


@dataclass(frozen=True, kw_only=True)
class Flat:
    value: float = 0.5
    interrupt: bool = False


def _flat(attack, observation, prior, *, generator, on_progress=None):
    if attack.interrupt:
        raise KeyboardInterrupt
    if on_progress is not None:
        on_progress(Progress(iteration=1, total=2, loss=0.25, seconds=0.1))
    shape = (observation.n_images, observation.image_channels, *observation.spatial_size)
    return Reconstruction(
        images=torch.full(shape, attack.value),
        labels=None,
        losses={"bn": 0.1},
        history=torch.zeros(1),
        iterations=1,
        seconds=0.5,
    )


@pytest.fixture(autouse=True)
def _flat_attack(monkeypatch):
    monkeypatch.setitem(ATTACKS, "flat", lambda: AttackKind(Flat, _flat))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Stand in an empty directory, with the threads that the test session has."""
    threads = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)


def medleak(*args):
    return CliRunner().invoke(app, [str(a) for a in args], env={"COLUMNS": "200"})


def refused(result, code):
    """The one line of an error: exit code as expected, no traceback, nothing else said."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("medleak: ")
    return lines[0]


def test_audit_takes_the_newest_run_and_names_its_directory_after_it(make_run, tmp_path):
    old = make_run(name="workspace/cxr_old")
    make_run({"site-1": 2}, name="workspace/cxr_new")
    os.utime(old.records / "manifest.json", (1, 1))
    result = medleak("audit", "--attack", "flat")
    assert result.exit_code == 0, result.output
    (out,) = Path("workspace").glob("audit-small-*")
    assert {row.site for row in read_rows(out / "results.csv")} == {"site-1"}
    assert str(out) in result.output
    assert "by flat knowing all, labels inferred" in result.output


@pytest.mark.parametrize("command", [["audit"], ["records", "ls"], ["records", "verify"]])
def test_a_missing_run_is_refused(command, tmp_path):
    assert "there is no run to take by default" in refused(medleak(*command), 1)
    assert "does not exist" in refused(medleak(*command, "nowhere"), 1)
    assert "No record in" in refused(medleak(*command, tmp_path), 1)
