"""Foreign federations: attach, simulate, verify, audit, report, and what each of them says."""

import importlib
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from nvflare.app_opt.pt.recipes.cyclic import CyclicRecipe
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.app_opt.pt.recipes.scaffold import ScaffoldRecipe
from nvflare.app_opt.pt.recipes.swarm import SwarmLearningRecipe

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.phantoms import listing, render
from medleak.custom.record import list_updates, read_beside, read_record
from medleak.inversion.results.rows import read_rows
from tests.foreign.federation import APPS, attached_and_run, exported, forget_networks
from tests.inversion.cli.commands import medleak, refused
from tests.jobs.simulation import simulate
from tests.places import ROOT

pytestmark = [pytest.mark.simulator, pytest.mark.slow, pytest.mark.timeout(600)]

NOTHING_TO_MATCH = "neither batch-norm statistics nor a row space"
PHOTOGRAPHS = ("--input", "32x32x3", "--task", "cross_entropy:10", "--allow-model", "photographs.")


@pytest.fixture(autouse=True)
def _imports_of_the_jobs_end_with_the_test(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    forget_networks()


def photographs():
    return importlib.import_module("photographs").PhotographNet()


def fedavg(name, model, *, rounds=1, **settings):
    return lambda: FedAvgRecipe(
        name=name,
        model=model() if callable(model) else model,
        min_clients=2,
        num_rounds=rounds,
        train_script=f"{name}_client.py",
        **settings,
    )


def report(out, code):
    """The verdicts that the report of an audit prints."""
    done = medleak("report", out, "--originals", "hidden")
    assert done.exit_code == code, done.output
    assert (Path(out) / "report.html").is_file()
    return done.output


def test_whole_weights_without_a_word_of_the_training(tmp_path):
    job = exported(fedavg("photographs", photographs, rounds=2), tmp_path / "job")
    run = attached_and_run(job)
    assert "network photographs.PhotographNet" in run.said
    assert "training loss: not known, images: not known" in run.said
    assert "--allow-model photographs. --task LOSS:OUTPUTS --input HxWxC --schedule" in run.said
    sites = ("site-1", "site-2")
    assert run.verified(4) == [(round, site) for round in (0, 1) for site in sites]
    known = run.listed()
    assert known["manifest"]["model"]["path"] == "photographs.PhotographNet"
    assert known["manifest"]["sources"] == {
        "model": "declared",
        "task": "unknown",
        "input": "unknown",
    }
    for update in known["updates"]:
        assert set(update["sources"].values()) == {"unknown"}
        assert update["n_steps"] is None  # a weight of the average is no word about steps

    command = ("audit", run.workspace, "--out", tmp_path / "a", "--round", "0", "--site", "site-1")
    assert "Not known: the size of an image" in refused(medleak(*command), 2)
    unallowed = medleak(*command, "--no-health", *PHOTOGRAPHS[:4])
    assert unallowed.exit_code == 1
    assert "--allow-model photographs" in unallowed.stderr
    asked = medleak(*command, "--no-health", *PHOTOGRAPHS)
    assert asked.exit_code == 1
    assert "Not known: the number of images" in asked.stderr
    schedule = ("--schedule", "n_images=8,batch_size=4,local_epochs=2,lr=0.01,momentum=0.9")
    said = (*PHOTOGRAPHS, *schedule, "--mean", "0.5", "--std", "0.5")
    unmatched = medleak(*command, "--no-health", *said)
    assert unmatched.exit_code == 1
    assert NOTHING_TO_MATCH in unmatched.stderr
    assert "not known: 1 case" in report(tmp_path / "a", 3)
    matched = medleak(
        *command, "--no-health", *said, "--attack", "inverting_gradients:iterations=3"
    )
    assert matched.exit_code == 3, matched.output
    assert "compared with nothing, as there is no list of the images" in matched.output
    assert "n_steps 4 (inferred), batch_size 4 (given)" in matched.output
    assert "no truth to compare with" in matched.output
    assert "site-1: not known" in report(tmp_path / "a", 3)


def test_the_readmes_lines_for_a_job_of_nvflare(tmp_path, monkeypatch):
    def recipe():
        model = importlib.import_module("model").Model()
        return FedAvgRecipe(
            name="job", model=model, min_clients=2, num_rounds=1, train_script="client.py"
        )

    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("A job of **NVFlare**")[2]
    lines = text.partition("**Flower**")[0].replace("\\\n", " ").splitlines()
    attach, simulator, audit = (shlex.split(x) for x in lines if x.startswith("    "))
    exported(recipe, tmp_path / "path" / "to", APPS / "readme")
    monkeypatch.chdir(tmp_path)
    done = medleak(*attach[1:])
    assert done.exit_code == 0, done.output
    assert "params_transfer_type is DIFF now" in done.stdout
    assert "Recording: works" in done.stdout
    assert simulator == ["nvflare", "simulator", "job-recorded", "-n", "2"]
    run = simulate(Path("job-recorded"), Path("simulator_workspace"), threads=2, clients=2)
    assert run.returncode == 0, run.log[-3000:]
    known = json.loads(medleak("records", "ls", "--json").stdout)["updates"]
    assert [update["defences"][0]["name"] for update in known] == ["percentile_gaussian"] * 2
    short = ("--attack", "row_space:seconds=2", "--no-health", "--site", "site-1", "--out", "a")
    audited = medleak(*audit[1:], *short)
    assert audited.exit_code == 3, audited.output
    assert "n_steps 2 (inferred)" in audited.stdout
    assert "site-1: not known" in report("a", 3)


def test_a_trainer_of_lightning_that_nvflare_patches(tmp_path):
    def network():
        return importlib.import_module("lightning_net").LightningNet()

    run = attached_and_run(exported(fedavg("lightning", network), tmp_path / "job"))
    assert "network lightning_net.LightningNet" in run.said
    run.verified(2)
    record = run.record(0, "site-1")
    assert {name.partition(".")[0] for name in record.update} == {"network"}
    out = tmp_path / "a"
    done = medleak(
        *("audit", run.workspace, "--out", out, "--site", "site-1", "--no-health"),
        *("--attack", "row_space:seconds=3", "--allow-model", "lightning_net."),
        *("--input", "16x16x1", "--task", "cross_entropy:2", "--schedule", "n_images=4"),
    )
    assert done.exit_code == 3, done.output
    assert "n_images 4 (given), n_steps 1 (inferred), batch_size 4 (inferred)" in done.output
    assert "lr 0.001 (inferred), optimizer adam (inferred)" in done.output
    assert "no original to compare with" in report(out, 3)


@pytest.fixture
def xrays(tmp_path):
    """Images of two sites, one and two of them, and a list of what each site has."""
    for site, count in (("site-1", 1), ("site-2", 2)):
        items = listing(count, seed=count)
        rendered = render(items, tmp_path / "rendered", 32, seed=count)
        kept = []
        for item in items:
            path = tmp_path / "xrays" / site / item.image
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(rendered / item.image, path)
            kept.append(Item(str(path), item.label, item.patient))
        save_datalist(tmp_path / "lists" / f"{site}.json", {"training": kept})
    return tmp_path / "xrays"


def test_monai_on_one_channel_whose_reader_exchanges_the_axes(tmp_path, xrays):
    from tests.foreign.apps.xrays_client import NETWORK

    model = {"class_path": "monai.networks.nets.ResNet", "args": NETWORK}
    recipe = fedavg("xrays", model, train_args=f"--data_root {xrays}")
    run = attached_and_run(exported(recipe, tmp_path / "job"), "--task", "cross_entropy:2")
    assert "--allow-model" not in run.said
    run.verified(2)
    assert run.listed()["manifest"]["sources"]["task"] == "declared"
    out = tmp_path / "a"
    done = medleak(
        *("audit", run.workspace, "--out", out, "--site", "site-1"),
        *("--attack", "row_space:attempts=6,seconds=120", "--input", "32x32x1"),
        *("--schedule", "n_images=1,lr=0.01", "--truth", tmp_path / "lists"),
    )
    assert done.exit_code == 0, done.output
    assert "n_steps 1 (inferred)" in done.output
    assert "optimizer sgd (inferred)" in done.output
    (row,) = read_rows(out / "results.csv")
    assert row.ssim is not None
    assert row.ssim > 0.95
    assert "flipped left-right, turned by 90°" in done.output
    (health,) = json.loads((out / "health.json").read_bytes()).values()
    assert health["reached"]
    assert "site-1: leaks" in report(out, 0)


def test_a_trainer_of_hugging_face_that_nvflare_patches(tmp_path, xrays):
    why = "make test-huggingface installs it beside .venv"
    pytest.importorskip("transformers", reason=why)
    pytest.importorskip("accelerate", reason=why)

    def recipe():
        made = fedavg(
            "huggingface",
            {"class_path": "huggingface_net.Classifier", "args": {"width": 96}},
            train_args=f"--data_root {xrays}",
        )()
        made.add_client_file("huggingface_net.py")
        return made

    run = attached_and_run(exported(recipe, tmp_path / "job"))
    assert "network huggingface_net.Classifier" in run.said
    run.verified(2)
    assert set(run.listed()["updates"][0]["sources"].values()) == {"unknown"}
    out = tmp_path / "a"
    known = ("--allow-model", "huggingface_net.", "--input", "32x32x1")
    known += ("--task", "cross_entropy:2", "--schedule", "n_images=1,local_epochs=1,lr=0.01")
    told = medleak("inspect", run.workspace, "--site", "site-1", *known, "--json")
    assert json.loads(told.stdout)["verdict"] == "exact", told.output
    done = medleak(
        *("audit", run.workspace, "--out", out, "--site", "site-1"),
        *("--attack", "row_space", *known, "--truth", tmp_path / "lists"),
    )
    assert done.exit_code == 0, done.output
    (row,) = read_rows(out / "results.csv")
    assert row.ssim is not None
    assert row.ssim > 0.95
    assert "site-1: leaks" in report(out, 0)


def test_a_client_that_keeps_its_batch_norm_is_audited_and_cleared_by_nothing(tmp_path, xrays):
    from tests.foreign.apps.xrays_client import NETWORK

    model = {"class_path": "monai.networks.nets.ResNet", "args": NETWORK}
    recipe = fedavg("xrays", model, train_args=f"--data_root {xrays}")
    fedbn = ("--defence", "withhold:batch_norm=withhold_all", "--task", "cross_entropy:2")
    run = attached_and_run(exported(recipe, tmp_path / "job"), *fedbn)
    assert "params_transfer_type is DIFF now" in run.said
    run.verified(2)
    record = run.record(0, "site-1")
    assert "bn1.weight" in record.global_state
    assert not [name for name in record.update if "bn" in name]
    assert "conv1.weight" in record.update
    out = tmp_path / "a"
    done = medleak(
        *("audit", run.workspace, "--out", out, "--site", "site-1", "--no-health"),
        *("--attack", "row_space:attempts=1,seconds=4", "--input", "32x32x1"),
        *("--schedule", "n_images=1,batch_size=1,local_epochs=1,lr=0.01"),
        *("--truth", tmp_path / "lists"),
    )
    assert done.exit_code in (0, 1), done.output
    assert "of the model's weights were not sent" in done.output
    said = medleak("report", out, "--originals", "hidden").output
    assert "no leak found" not in said


def test_segmentation_of_volumes_with_four_channels(tmp_path):
    from tests.foreign.apps.volumes_client import NETWORK

    model = {"class_path": "monai.networks.nets.SegResNet", "args": NETWORK}
    run = attached_and_run(
        exported(fedavg("volumes", model), tmp_path / "job"), "--input", "16x16x16x4"
    )
    run.verified(2)
    known = run.listed()["manifest"]
    assert (known["input"]["spatial_size"], known["input"]["channels"]) == ([16, 16, 16], 4)
    out = tmp_path / "a"
    done = medleak(
        *("audit", run.workspace, "--out", out, "--site", "site-1", "--no-health"),
        *("--task", "dice_cross_entropy:2"),
        *("--schedule", "n_images=2,batch_size=1,local_epochs=1,lr=0.001,optimizer=adam"),
    )
    assert done.exit_code == 1
    assert "n_steps 2 (inferred)" in done.output
    assert NOTHING_TO_MATCH in done.stderr
    assert "site-1: not known; its update could not be attacked" in report(out, 3)


def test_scaffold_whose_control_variates_travel_beside_the_weights(tmp_path):
    def recipe():
        return ScaffoldRecipe(
            name="scaffold",
            model=photographs(),
            min_clients=2,
            num_rounds=2,
            train_script="scaffold_client.py",
        )

    run = attached_and_run(exported(recipe, tmp_path / "job"))
    assert "workflow Scaffold" in run.said
    run.verified(4)
    first, second = run.record(0, "site-1"), run.record(1, "site-1")
    means = {
        name: (value + run.record(0, "site-2").update[name]) / 2
        for name, value in first.update.items()
    }
    for name, value in first.global_state.items():
        np.testing.assert_allclose(second.global_state[name], value + means[name], atol=1e-6)
    controls = read_beside(run.records, 0, "site-1")["scaffold_c_diff"]
    assert controls.keys() == first.update.keys()
    for name, value in controls.items():  # four steps of 0.05 from controls of zero
        np.testing.assert_allclose(value * 4 * 0.05, -first.update[name], atol=1e-6)
    out = tmp_path / "a"
    done = medleak(
        *("audit", run.workspace, "--out", out, "--site", "site-1", "--round", "1", "--no-health"),
        *(*PHOTOGRAPHS, "--schedule", "n_images=4,batch_size=1,local_epochs=1,lr=0.05"),
    )
    assert done.exit_code == 1
    assert NOTHING_TO_MATCH in done.stderr
    report(out, 3)


def test_a_cyclic_job_is_a_chain_of_models(tmp_path):
    def recipe():
        return CyclicRecipe(
            name="cyclic",
            model=photographs(),
            min_clients=2,
            num_rounds=2,
            train_script="photographs_client.py",
            train_args="--epochs 1",
            task_assignment_timeout=200,  # a site that is slow to start is waited for
        )

    run = attached_and_run(exported(recipe, tmp_path / "job"))
    assert "sites pass the model on: each update is recorded with the model its site" in run.said
    records = [run.record(*update) for update in run.verified(4)]
    ends = [{n: v + record.update[n] for n, v in record.global_state.items()} for record in records]
    begun = [
        sum(all(np.allclose(end[n], v, atol=1e-6) for n, v in start.items()) for end in ends)
        for start in (record.global_state for record in records)
    ]
    assert sorted(begun) == [0, 1, 1, 1]  # each but the first begins where one other ended
    out = tmp_path / "a"
    done = medleak(
        *("audit", run.workspace, "--out", out, "--site", "site-2", "--round", "0", "--no-health"),
        *(*PHOTOGRAPHS, "--schedule", "n_images=8,batch_size=4,local_epochs=1,lr=0.01"),
    )
    assert done.exit_code == 1
    assert NOTHING_TO_MATCH in done.stderr
    report(out, 3)
    assert json.loads((out / "summary.json").read_bytes())["sites"] == []


def test_a_swarm_is_recorded_where_it_aggregates(tmp_path):
    def recipe():
        return SwarmLearningRecipe(
            name="swarm",
            model=photographs(),
            min_clients=2,
            num_rounds=2,
            train_script="photographs_client.py",
            train_args={"script_args": "--epochs 1"},
            key_metric=None,
        )

    run = attached_and_run(exported(recipe, tmp_path / "job"))
    assert "network photographs.PhotographNet" in run.said
    assert "each holds what other sites sent" in run.said
    joined = tmp_path / "joined"
    done = medleak("records", "join", run.workspace, "-o", joined)
    assert done.exit_code == 0, done.output
    hint = re.search(r"joined: 4 updates\. Next: PYTHONPATH=(\S+) medleak audit", done.stdout)
    assert hint, done.stdout
    sys.path.append(hint[1])  # which the fixture takes away
    assert list_updates(joined) == [(r, s) for r in (0, 1) for s in ("site-1", "site-2")]
    first, other = (read_record(joined, 0, site) for site in ("site-1", "site-2"))
    for name, value in read_record(joined, 1, "site-1").global_state.items():
        mean = (first.update[name] + other.update[name]) / 2
        np.testing.assert_allclose(value, first.global_state[name] + mean, atol=1e-6)
    out = tmp_path / "a"
    done = medleak(
        *("audit", joined, "--out", out, "--site", "site-1", "--round", "1", "--no-health"),
        *(*PHOTOGRAPHS, "--schedule", "n_images=8,batch_size=4,local_epochs=1,lr=0.01"),
    )
    assert done.exit_code == 1
    assert NOTHING_TO_MATCH in done.stderr
    report(out, 3)
