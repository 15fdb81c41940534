"""Tests of what ``medleak audit`` does with its options for long audits."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.inversion.audit.audits import STEADY, fake
from tests.inversion.cli.commands import medleak, refused

from medleak.inversion.attacks.registry import ATTACKS
from medleak.inversion.results.rows import read_rows

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = {**fake(lambda o: torch.full((o.n_images, 1, 16, 16), 0.5)), **STEADY}
    for name, kind in table.items():
        monkeypatch.setitem(ATTACKS, name, kind)


def test_a_dry_run_says_the_cost_and_does_nothing(make_run):
    make_run({"site-1": 1, "site-2": 1})
    args = ("audit", "--attack", "fake", "--seed", 0, "--seed", 1, "--out", "a", "--dry-run")
    result = medleak(*args)
    assert result.exit_code == 0, result.output
    assert "4 cases, 0 done; the rest about" in result.stdout
    assert not Path("a").exists()
    content = json.loads(medleak(*args, "--json").stdout)
    assert (content["cases"], content["kept"]) == (4, 0)
    assert content["seconds"] > 0
    assert content["core_hours"] == content["cpu_seconds"] / 3600
    times = content["seconds_on"]
    assert times["1"] == pytest.approx(content["cpu_seconds"])
    assert times["16"] == times["128"] == pytest.approx(content["cpu_seconds"] / 4)
    assert "core-hours; on the clock" in result.stdout


def test_a_dry_run_refuses_the_directory_that_the_audit_would_refuse(make_run):
    make_run({"site-1": 1})
    Path("file").touch()
    Path("full").mkdir()
    Path("full/notes.txt").touch()
    for out in ("file", "full"):
        line = refused(medleak("audit", "--attack", "fake", "--out", out, "--dry-run"), 2)
        assert f"{out} exists and is no audit directory" in line
    args = ("audit", "--attack", "fake", "--out", "a", "--no-health")
    assert medleak(*args).exit_code == 0
    assert medleak(*args, "--dry-run").exit_code == 0
    line = refused(medleak(*args, "--prior", "gray", "--dry-run"), 2)
    assert "a holds another audit: its prior" in line


def test_one_prior_is_the_same_from_wherever_it_is_named(make_run, monkeypatch):
    make_run({"site-1": 1}, name="workspace/run")
    Image.new("L", (16, 16), 90).save("prior.png")
    options = ("--attack", "fake", "--no-health", "--prior")
    assert medleak("audit", "workspace/run", *options, "prior.png", "--out", "a").exit_code == 0
    before = Path("a/results.csv").read_bytes()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    again = medleak("audit", "../workspace/run", *options, "../prior.png", "--out", "../a")
    assert again.exit_code == 0, again.output
    assert Path("../a/results.csv").read_bytes() == before
    Image.new("L", (16, 16), 200).save("../prior.png")
    again = medleak("audit", "../workspace/run", *options, "../prior.png", "--out", "../a")
    line = refused(again, 2)
    assert "holds another audit: its prior" in line


@pytest.mark.parametrize("option", ["--mean", "--std"])
def test_a_normalisation_of_another_number_of_channels_is_refused_before_anything_is_written(
    make_run, option
):
    make_run()
    for values in ("0.5,0.4", "0.5,0.5", "0.5,0.5,0.5,0.5"):
        line = refused(medleak("audit", "--attack", "fake", "--out", "a", option, values), 2)
        assert f"{option} has {values.count(',') + 1} values and the network takes 3" in line
    assert not Path("a").exists()
    for values in ("0.5", "0.5,0.4,0.3"):
        done = medleak("audit", "--attack", "fake", "--out", f"fits{values}", option, values)
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize("site", ["site-1", "site-9"])
def test_shares_that_could_not_be_compared_are_not_known_and_never_ignored(make_run, site):
    make_run({"site-1": 1, "site-2": 1})
    Path("shares.json").write_text(json.dumps({"women": {site: 0.4}}))
    args = ("audit", "--attack", "fake", "--out", "a", "--shares", "shares.json")
    refused(medleak(*args, "--no-beside"), 2)
    assert not Path("a").exists()
    result = medleak(*args)
    assert result.exit_code == 3, result.output
    assert "Not known, of --shares" in result.stderr


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(make_run, monkeypatch):
    make_run()
    monkeypatch.setattr("medleak.inversion.audit.cost.free_disk", lambda out: 1000)
    result = medleak("audit", "--attack", "fake", "--out", "a")
    assert result.exit_code == 2
    assert "would take up to" in result.stderr
    assert medleak("audit", "--attack", "fake", "--out", "a", "--dry-run").exit_code == 1
    assert not Path("a").exists()


def test_a_long_audit_says_beforehand_how_long_it_takes(make_run, monkeypatch):
    make_run()
    monkeypatch.setattr("medleak.inversion.cli.audit.ESTIMATE_FROM", 1.0)
    result = medleak("audit", "--attack", "fake", "--out", "a", "--json")
    assert "1 cases, 0 done; the rest about" in result.stderr
    json.loads(result.stdout)


def test_the_ladder_ends_with_a_table_of_what_each_assumption_buys(make_run):
    make_run(rounds=(0, 1))
    result = medleak("audit", "--attack", "fake", "--round", 1, "--ladder", "--out", "a")
    assert result.exit_code == 0, result.output
    assert "Knowledge given up, and all that stands above it" in result.output
    for rung in ("all known", "batch-norm statistics withheld", "stale global model"):
        assert rung in result.output
    assert len(read_rows(Path("a/results.csv"))) == 5
    result = medleak("audit", "--attack", "fake", "--round", 1, "--ladder-each", "--out", "a")
    assert "each thing alone" in result.output
    assert len(read_rows(Path("a/results.csv"))) == 8  # two rungs are the same in both


@pytest.mark.parametrize(
    "args", [["--ladder", "--ladder-each"], ["--ladder", "--knowledge", "bn_statistics=false"]]
)
def test_attackers_are_named_in_one_way(make_run, args):
    make_run()
    result = medleak("audit", "--attack", "fake", "--out", "a", *args)
    assert result.exit_code == 2
    assert "only one of them can" in result.stderr
    assert not Path("a").exists()


def test_an_attack_that_failed_its_easy_case_is_said_and_a_check_left_out_too(make_run):
    make_run()
    result = medleak("audit", "--attack", "fake", "--out", "a")
    assert re.search(r"Easy case of fake knowing all, labels inferred: not inverted", result.output)
    result = medleak("audit", "--attack", "fake", "--out", "b", "--no-health")
    assert "not run (--no-health); a failure of this attack is no sign of safety" in result.output
    assert not Path("b/health.json").exists()


def test_averaging_needs_an_attack_that_can(make_run):
    make_run()
    result = medleak("audit", "--attack", "fake", "--average", "--out", "a")
    assert result.exit_code == 2
    assert "cannot join several rounds" in result.stderr


@pytest.mark.timeout(400)  # new processes import torch, which a busy machine does slowly
def test_several_processes_give_the_table_of_one(make_run):
    make_run({"site-1": 1, "site-2": 1})
    args = ("audit", "--attack", "steady", "--seed", 0, "--seed", 1, "--no-health")
    assert medleak(*args, "--out", "one").exit_code == 0
    result = medleak(*args, "--out", "two", "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert Path("two/results.csv").read_bytes() == Path("one/results.csv").read_bytes()
    assert Path("two/summary.json").read_bytes() == Path("one/summary.json").read_bytes()


def test_what_a_defence_costs_is_kept_beside_the_results(make_run):
    run = make_run()
    report = run.root / "server" / "simulate_job" / "test_metrics.json"
    accuracy = {"value": 0.8, "lower95": 0.7, "upper95": 0.9}
    report.write_text(json.dumps({"n": 50, "accuracy": accuracy}))
    noise = "percentile_gaussian:sigma0=10"
    args = ("--utility", f"{noise}={run.root}", "--no-health", "--out", "a")
    assert medleak("audit", "--attack", "fake", *args).exit_code == 0
    (entry,) = json.loads(Path("a/utility.json").read_text())
    assert (entry["defence"], entry["accuracy"], entry["n"]) == (noise, 0.8, 50)
    for wrong in ("none=nowhere", f"prayer={run.root}"):
        result = medleak("audit", "--attack", "fake", "--utility", wrong, "--out", "b")
        assert result.exit_code == 2
    assert not Path("b").exists()


def test_lpips_is_measured_where_it_is_asked_for_and_not_mixed_in(make_run, monkeypatch):
    make_run(size=32)
    table = fake(lambda o: torch.full((o.n_images, 1, 32, 32), 0.5))
    monkeypatch.setitem(ATTACKS, "fake", table["fake"])
    args = ("audit", "--attack", "fake", "--no-health", "--out", "a")
    monkeypatch.setitem(sys.modules, "lpips", None)
    refused = medleak(*args, "--lpips", "alexnet")
    assert refused.exit_code == 2
    assert "medleak[lpips]" in refused.stderr
    assert not Path("a").exists()
    asked = []

    def load(source, device):
        asked.append(source)
        return lambda truth, image: (truth - image).abs().mean((1, 2, 3)).double()

    monkeypatch.setattr("medleak.inversion.audit.run.load_perceptual", load)
    assert medleak(*args, "--lpips", "alexnet").exit_code == 0
    assert asked == ["alexnet"]
    (row,) = read_rows(Path("a/results.csv"))
    assert row.lpips is not None
    assert 0 < row.lpips < 1
    without = medleak(*args, "--seed", 1)
    assert without.exit_code == 2
    assert "another audit: its measures" in without.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cluster", "local"), "--cluster needs Ray, which is not installed: pip install"),
        (("--case-memory", "2"), "--case-memory is for a cluster"),
        (("--case-gpu", "0.5"), "--case-gpu is for a cluster"),
        (("--cluster", "local", "--device", "cpu", "--case-gpu", "1"), "--device cuda"),
    ],
)
def test_what_a_cluster_needs_is_said_and_nothing_is_written(make_run, monkeypatch, options, said):
    make_run()
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "ray" else found(name)
    )
    options = ("--attack", "fake", "--out", "a", *options)
    assert said in refused(medleak("audit", *options), 2)
    assert not Path("a").exists()


def test_a_sample_says_what_it_left_out_and_clears_nobody_of_it(make_run):
    make_run({"site-1": 1, "site-2": 1, "site-3": 2}, rounds=(0, 1))
    args = ("audit", "--attack", "fake", "--no-health", "--out", "a")
    planned = medleak(*args, "--sample", "sites=2,rounds=1,strata=1", "--dry-run", "--json")
    assert json.loads(planned.stdout)["cases"] == 2
    result = medleak(*args, "--sample", "sites=2,rounds=1,strata=1")
    assert result.exit_code == 0, result.output
    assert "1 site was not drawn and not looked at." in result.stdout
    assert "2 updates of the drawn sites were not looked at." in result.stdout
    assert "Of what was not looked at nothing is known." in result.stdout
    config = json.loads(Path("a/config.json").read_bytes())
    assert config["sample"]["design"] == {"sites": 2, "rounds": 1, "strata": 1, "seed": 0}
    assert sum(config["sample"]["not_examined"].values()) == 4
    reported = medleak("report", "a", "--redact", "--json")
    assert reported.exit_code == 3
    assert any("1 site was not drawn" in t for t in json.loads(reported.stdout)["not_examined"])
    everything = medleak(*args)
    assert "not looked at" not in everything.stdout
    assert json.loads(Path("a/config.json").read_bytes())["sample"]["not_examined"] == {}
    reported = medleak("report", "a", "--redact", "--json")
    assert json.loads(reported.stdout)["not_examined"] == []


@pytest.mark.parametrize(
    ("text", "why"), [("strata=3", "draws sites, rounds or both"), ("sites=1", "3 strata")]
)
def test_a_sample_that_cannot_be_drawn_is_refused(make_run, text, why):
    make_run({"site-1": 1, "site-2": 2, "site-3": 3})
    assert why in refused(medleak("audit", "--attack", "fake", "--sample", text), 2)
    assert not Path("workspace").exists()


def test_a_settled_site_is_left_alone_and_that_is_said(make_run, monkeypatch):
    run = make_run({"site-1": 1}, rounds=(0, 1, 2))
    for name, kind in fake(lambda o: run.images("site-1", 16)).items():
        monkeypatch.setitem(ATTACKS, name, kind)
    args = ("audit", "--attack", "fake", "--no-health", "--out", "a", "--sequential")
    assert "if no site is settled" in medleak(*args, "--dry-run").stdout
    result = medleak(*args)
    assert "2 cases of 1 sites were left out, as it was settled that they leak" in result.stdout
    assert len(read_rows(Path("a/results.csv"))) == 1
    assert medleak(*args).exit_code == 0
