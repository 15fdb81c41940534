"""Tests of medleak.inversion.audit: what reaches the attack, the tables, and the disk."""

import csv
import dataclasses
import errno
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medleak.custom.datalist import Item, save_datalist
from medleak.custom.record import ModelSpec, RecordError, read_manifest, read_record
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.audit import audit
from medleak.inversion.evaluation import Evaluator
from medleak.inversion.metrics import ssim
from medleak.inversion.observation import Knowledge
from medleak.inversion.plan import AttackKind, Case, Plan
from medleak.inversion.prior import load_prior
from medleak.inversion.reconstruction import Progress, Reconstruction
from medleak.inversion.results import COLUMNS, read_rows

NOISY = "percentile_gaussian:sigma0=10"


@dataclass(frozen=True, kw_only=True)
class Fake:
    """An attack that knows the answer, for tests of everything around attacks."""

    error: float = 0.0
    stuck: bool = False


def fake(images_of, calls=None, fail=lambda observation: None, ending: Any = "finished"):
    """An attack table whose one attack returns ``images_of(observation)`` plus some error."""

    def run(attack, observation, prior, *, generator, on_progress=None):
        fail(observation)
        if calls is not None:
            calls.append((observation, prior, generator.initial_seed()))
        images = images_of(observation)
        noise = torch.randn(images.shape, generator=generator)
        if on_progress is not None:
            on_progress(Progress(iteration=1, total=1, loss=0.5, seconds=0.1))
        return Reconstruction(
            images=(images + attack.error * noise).clamp(0, 1),
            labels=torch.zeros(len(images), dtype=torch.int64),
            losses={"bn": 0.002, "span": 1e-7},
            history=torch.tensor([1.0, 0.5]),
            iterations=2,
            seconds=0.25,
            attempts=3,
            stuck=attack.stuck,
            ending=ending,
        )

    return {"fake": lambda: AttackKind(Fake, run)}


def plan_of(run, tmp_path, **changes):
    settings = {"attacks": ["fake"], "prior": "phantoms", "out": tmp_path / "audit", **changes}
    return Plan(records=run.records, **settings)


def outcomes(plan, table, **kwargs) -> list[Any]:
    return list(audit(plan, attacks=table, **kwargs))


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


def test_a_damaged_update_is_refused_by_name_and_the_rest_is_audited(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1, "site-3": 1})
    path = run.records / "round_0000" / "site-2.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    plan = plan_of(run, tmp_path)
    found = outcomes(plan, fake(lambda _: torch.full((1, 1, 16, 16), 0.5)))
    assert [bool(o.rows) for o in found] == [True, False, True]
    assert "site-2.safetensors" in found[1].refused
    assert "\n" not in found[1].refused
    summary = json.loads((plan.out / "summary.json").read_text())
    assert [r["case"]["site"] for r in summary["refused"]] == ["site-2"]
    # Restored and run again, what was missing is added and nothing is counted twice.
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = outcomes(plan, fake(lambda _: torch.full((1, 1, 16, 16), 0.5)))
    assert [o.kept for o in found] == [True, False, True]
    assert json.loads((plan.out / "summary.json").read_text())["refused"] == []
    assert len(read_rows(plan.out / "results.csv")) == 3


def test_a_refusal_is_not_forgotten_when_other_sites_are_added(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1})
    (run.records / "round_0000" / "site-2.safetensors").write_bytes(b"")
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    outcomes(plan_of(run, tmp_path, sites=["site-2"]), table)
    outcomes(plan_of(run, tmp_path, sites=["site-1"]), table)
    summary = json.loads((tmp_path / "audit" / "summary.json").read_text())
    assert [r["case"]["site"] for r in summary["refused"]] == ["site-2"]
    assert [c["site"] for c in summary["cases"]] == ["site-1"]


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


def test_an_interrupted_audit_goes_on_to_the_same_figures(make_run, tmp_path):
    run = make_run({"site-1": 2, "site-2": 1, "site-3": 1})
    settings = {"attacks": ["fake:error=0.1"], "seeds": [0, 1]}

    def images(observation):
        return torch.full((observation.n_images, 1, 16, 16), 0.4)

    whole = plan_of(run, tmp_path, out=tmp_path / "whole", **settings)
    outcomes(whole, fake(images))
    plan = plan_of(run, tmp_path, **settings)
    for stop in (2, 3, 1):
        seen = []

        def interrupt(observation, seen=seen, stop=stop):
            seen.append(1)
            if len(seen) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            outcomes(plan, fake(images, fail=interrupt))
    assert len({r.case for r in read_rows(plan.out / "results.csv")}) == 3
    found = outcomes(plan, fake(images))
    assert [o.kept for o in found] == [True] * 3 + [False] * 3
    assert (plan.out / "results.csv").read_bytes() == (whole.out / "results.csv").read_bytes()
    assert (plan.out / "summary.json").read_bytes() == (whole.out / "summary.json").read_bytes()


def test_an_attack_that_was_interrupted_is_shown_but_not_counted(make_run, tmp_path):
    run = make_run()
    table = fake(lambda _: run.images("site-9", 16), ending="interrupted")
    with pytest.raises(KeyboardInterrupt):
        outcomes(plan_of(run, tmp_path), table)
    assert read_rows(tmp_path / "audit" / "results.csv") == []
    # What it had found may be looked at.
    assert len(list((tmp_path / "audit" / "images").glob("round_*.png"))) == 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"prior": "gray"}, "prior"), ({"attacks": ["fake"]}, None), ({"sites": ["site-1"]}, None)],
)
def test_a_directory_takes_more_of_its_own_audit_and_nothing_of_another(
    make_run, tmp_path, changes, what
):
    run = make_run({"site-1": 1, "site-2": 1})
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    outcomes(plan_of(run, tmp_path, sites=["site-2"], attacks=["fake:error=0.1"]), table)
    before = (tmp_path / "audit" / "results.csv").read_bytes()
    if what is None:
        outcomes(plan_of(run, tmp_path, **changes), table)
        assert len(read_rows(tmp_path / "audit" / "results.csv")) > 1
        assert (tmp_path / "audit" / "results.csv").read_bytes().startswith(before)
    else:
        with pytest.raises(ValueError, match=f"holds another audit: its {what}"):
            outcomes(plan_of(run, tmp_path, **changes), table)
        assert (tmp_path / "audit" / "results.csv").read_bytes() == before


def test_another_runs_records_are_not_mixed_into_an_audit(make_run, tmp_path):
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    outcomes(plan_of(make_run(), tmp_path), table)
    other = make_run(rounds=(3,), size=24, name="other")
    with pytest.raises(ValueError, match="holds another audit: its record"):
        outcomes(plan_of(other, tmp_path), table)


def test_a_directory_with_other_files_is_left_alone(make_run, tmp_path):
    run = make_run()
    plan = plan_of(run, tmp_path)
    plan.out.mkdir()
    (plan.out / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is no audit directory"):
        outcomes(plan, fake(lambda _: run.images("site-9", 16)))
    assert [p.name for p in plan.out.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sites": ["site-7"]}, "Site site-7"),
        ({"rounds": [9]}, "Round 9"),
        ({"attacks": ["fak"]}, "Unknown attack"),
        ({"attacks": ["fake:error=big"]}, "error = 'big'"),
        ({"defences": ["percentile_gaussian:sigma0=0"]}, "sigma0"),
        ({"prior": "no.png"}, "neither a file"),
        ({"truth": "nowhere"}, "Truth 'nowhere' does not exist"),
        ({"device": "abacus"}, "Device 'abacus'"),
    ],
)
def test_a_request_that_cannot_be_met_leaves_nothing_behind(make_run, tmp_path, changes, message):
    run = make_run()
    if "truth" in changes:
        changes = {"truth": Path(changes["truth"])}
    plan = plan_of(run, tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        outcomes(plan, fake(lambda _: run.images("site-9", 16)))
    assert not plan.out.exists()


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


def test_known_labels_need_a_truth_list(make_run, tmp_path):
    run = make_run()
    (run.root / "site-9" / "simulate_job" / "datalist.json").unlink()
    plan = plan_of(run, tmp_path, knowledge=[Knowledge(labels="known")])
    (outcome,) = outcomes(plan, fake(lambda _: torch.full((1, 1, 16, 16), 0.5)))
    assert "no truth list to take them from" in outcome.refused


def test_a_full_disk_leaves_whole_files_of_the_cases_before(make_run, tmp_path, monkeypatch):
    run = make_run({"site-1": 1, "site-2": 1})
    plan = plan_of(run, tmp_path)
    import medleak.inversion.audit as module

    real, written = module.write_rows, []

    def full(path, rows):
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, rows)

    monkeypatch.setattr(module, "write_rows", full)
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    with pytest.raises(OSError, match="No space left"):
        outcomes(plan, table)
    assert [r.site for r in read_rows(plan.out / "results.csv")] == ["site-1"]
    monkeypatch.undo()
    assert [o.kept for o in outcomes(plan, table)] == [True, False]


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
    spec = read_manifest(run.records).input
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


def test_missing_records_are_refused(tmp_path):
    with pytest.raises(RecordError, match=r"manifest\.json is missing"):
        list(audit(Plan(records=tmp_path, out=tmp_path / "audit")))


def test_the_truth_may_be_a_list_or_a_folder_of_lists(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1})
    lists = tmp_path / "lists"
    for site in ("site-1", "site-2"):
        found = run.root / site / "simulate_job" / "datalist.json"
        found.rename(lists.joinpath(f"{site}.json")) if lists.exists() else (
            lists.mkdir(),
            found.rename(lists / f"{site}.json"),
        )
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    found = outcomes(plan_of(run, tmp_path, truth=lists), table)
    assert all(o.rows[0].ssim is not None for o in found)
    one = plan_of(run, tmp_path, truth=lists / "site-1.json", out=tmp_path / "one")
    with pytest.raises(ValueError, match="is the list of one site, but 2 sites"):
        outcomes(one, table)
    (lists / "site-2.json").unlink()
    with pytest.raises(ValueError, match="has no datalist for site-2"):
        outcomes(plan_of(run, tmp_path, truth=lists, out=tmp_path / "two"), table)
    save_datalist(lists / "site-2.json", {"training": [], "validation": [Item("a", 0, "p")]})
    with pytest.raises(ValueError, match="lists no training image for site-2"):
        outcomes(plan_of(run, tmp_path, truth=lists, out=tmp_path / "three"), table)
    assert not list(tmp_path.glob("t*"))
