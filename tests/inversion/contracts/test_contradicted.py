"""What a site or the auditor says wrongly of an update never ends as "no leak found".

From the command that audits to the gate of the report: an attack that was told of other steps than
those that were taken, and brings back nothing, has shown nothing.
"""

import json

import pytest
import torch
from tests.inversion.audit.audits import fake
from tests.inversion.cli.commands import medleak

from medleak.custom.record import read_record
from medleak.inversion.attacks.registry import ATTACKS, AttackKind
from medleak.inversion.audit.health import easy_image, easy_record
from medleak.inversion.report.verdicts import Light

pytestmark = pytest.mark.slow

WHY = "batch norm counted 1 forward passes, and n_steps is 3"


@pytest.fixture
def run(make_run, monkeypatch):
    """Two sites of one step each, and an attack that inverts easy cases and nothing else."""
    return blind(make_run, monkeypatch)


def blind(make_run, monkeypatch, **options):
    found = make_run({"site-1": 1, "site-2": 1}, **options)
    record = read_record(found.records, 0, "site-1")
    image, label = easy_image(record.manifest.known_input())
    easy = easy_record(record, image, label).update

    def images_of(observation):
        update = observation.parameter_update
        if all(torch.allclose(v, torch.tensor(easy[n]), atol=1e-6) for n, v in update.items()):
            return image
        return torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    kind = fake(images_of)["fake"]()

    def join(attack, rounds, prior, *, generator, on_progress=None):
        return kind.run(attack, rounds[-1], prior, generator=generator)

    monkeypatch.setitem(ATTACKS, "fake", lambda: AttackKind(kind.settings, kind.run, join))
    return found


def declare(run, site, round=0, **fields):
    path = run.records / f"round_{round:04d}" / f"{site}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def audited(run, out, *said):
    done = medleak("audit", run.records, "--truth", lists(run, out), "--attack", "fake", *said,
                   "--out", out)  # fmt: skip
    assert done.exit_code == 0, done.output
    return done.stdout


def lists(run, out):
    """The sites' lists in one folder, as records alone do not lead to them."""
    folder = out.parent / "lists"
    folder.mkdir(exist_ok=True)
    for site in ("site-1", "site-2"):
        text = (run.root / site / "simulate_job" / "datalist.json").read_text()
        (folder / f"{site}.json").write_text(text)
    return folder


def reported(out):
    """Exit code, light of each site, and what the gate says of it."""
    command = ("report", out, "--redact", "--no-pictures", "--fail-if", "rdlv.mean > 0", "--json")
    done = medleak(*command)
    content = json.loads(done.stdout)
    lights = {s["site"]: s["light"] for s in content["sites"]}
    return done.exit_code, lights, {f["site"]: f["why"] for f in content["fail_if"]["failures"]}


def test_without_an_error_the_same_audit_finds_no_leak_and_the_gate_opens(run, tmp_path):
    out = tmp_path / "audit"
    assert "contradicts" not in audited(run, out)
    none = Light.NONE_FOUND.value
    assert reported(out) == (0, {"site-1": none, "site-2": none}, {})


def test_steps_that_a_site_declared_and_did_not_take_are_no_all_clear_for_it(run, tmp_path):
    declare(run, "site-2", n_steps=3, local_epochs=3)
    out = tmp_path / "audit"
    assert f"0/site-2: The update contradicts what was said: {WHY}" in audited(run, out)
    verdicts = {g["site"]: g["verdict"] for g in json.loads(_read(out, "summary.json"))["sites"]}
    assert verdicts["site-1"].startswith("no leak found")  # the health check is in order
    assert verdicts["site-2"].startswith("inconclusive")
    assert WHY in verdicts["site-2"]
    for step in ("as it was written", "computed anew"):
        code, lights, gate = reported(out)
        assert code == 3, step
        assert lights["site-2"] != Light.NONE_FOUND.value
        assert set(gate) == {"site-2"}
        assert WHY in gate["site-2"]
        (out / "summary.json").unlink(missing_ok=True)
    assert WHY in _read(out, "report.html")


def test_steps_that_the_auditor_gives_and_no_site_took_are_no_all_clear_for_any(run, tmp_path):
    out = tmp_path / "audit"
    audited(run, out, "--schedule", "n_steps=3,local_epochs=3")
    code, lights, gate = reported(out)
    assert code == 3
    assert Light.NONE_FOUND.value not in lights.values()
    assert set(gate) == {"site-1", "site-2"}
    assert f"{WHY} (given)" in gate["site-1"]


def test_a_summary_that_calls_it_no_leak_is_not_believed_against_its_own_config(run, tmp_path):
    declare(run, "site-2", n_steps=3, local_epochs=3)
    out = tmp_path / "audit"
    audited(run, out)
    summary = json.loads(_read(out, "summary.json"))
    good = next(g for g in summary["sites"] if g["site"] == "site-1")
    words = {k: good[k] for k in ("verdict", "verdict_kind", "verdict_reasons")}
    summary["sites"] = [{**g, **words} for g in summary["sites"]]
    (out / "summary.json").write_text(json.dumps(summary))
    code, lights, _ = reported(out)
    assert code == 3
    assert lights == {"site-1": Light.NONE_FOUND.value, "site-2": Light.NOT_KNOWN.value}


def test_an_earlier_round_that_an_attack_joins_counts_for_it_and_for_no_attack_on_one_round(
    make_run, monkeypatch, tmp_path
):
    run = blind(make_run, monkeypatch, rounds=(0, 1))
    declare(run, "site-2", n_steps=3, local_epochs=3)
    out = tmp_path / "audit"
    audited(run, out, "--average", "--round", "1")
    config = json.loads(_read(out, "config.json"))
    assert set(config["updates"]) == {"1/site-1", "1/site-2"}
    assert set(config["joined"]) == {"0/site-1", "0/site-2"}
    assert WHY in config["said"]["0/site-2"]["contradictions"][0]
    kinds = {
        (g["site"], g["attack"]): g["verdict_kind"]
        for g in json.loads(_read(out, "summary.json"))["sites"]
    }
    assert kinds == {
        ("site-1", "fake"): "no_leak_found",
        ("site-1", "average/fake"): "no_leak_found",
        ("site-2", "fake"): "no_leak_found",
        ("site-2", "average/fake"): "inconclusive",
    }
    code, lights, gate = reported(out)
    assert code == 3
    assert lights["site-2"] == Light.NOT_KNOWN.value
    assert set(gate) == {"site-2"}


def _read(out, name):
    return (out / name).read_text(encoding="utf-8")
