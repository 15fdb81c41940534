"""cxr_dpsgd and cxr_fedbn in NVFlare's simulator, a new process for every site and round."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from medleak.custom import networks
from medleak.custom.data.datalist import load_datalist
from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD, load_images
from medleak.custom.record import read_info, read_manifest, read_record, verify
from medleak.custom.training import sgd
from medleak.filters import storage
from medleak.filters.privacy import accounting, ledger
from medleak.inversion.cli import app
from tests.jobs.simulation import Simulation, client_config, export, job_command, simulate

pytestmark = [pytest.mark.simulator, pytest.mark.timeout(300)]

SITES = ("site-1", "site-9")
OPTIONS = ("--table", "site-1:4:8:8,site-9:1:1:8:site-1", "--num_rounds", "2", "--scale", "1")
LR = 0.01
CANARIES = ("--canaries", "gradients:count=200")


def run(name, folder, *more, **variables) -> Simulation:
    job = export(name, folder, *OPTIONS, *more)
    done = simulate(job, folder / "workspace", threads=1, **variables)
    assert done.returncode == 0, done.log[-3000:]
    return done


@pytest.fixture(scope="module")
def dpsgd(tmp_path_factory) -> Simulation:
    return run("cxr_dpsgd", tmp_path_factory.mktemp("dpsgd"), *CANARIES, MEDLEAK_CANARIES="allow")


@pytest.fixture(scope="module")
def fedbn(tmp_path_factory) -> Simulation:
    return run("cxr_fedbn", tmp_path_factory.mktemp("fedbn"))


def test_the_ledger_of_each_site_outlives_its_processes_and_ends_at_the_target(dpsgd):
    found = {path.parent.name: ledger.read(path) for path in ledger.find(dpsgd.workspace)}
    assert sorted(found) == list(SITES)
    for name, verified in found.items():
        assert not verified.torn
        assert [e.spend.round for e in verified.entries] == [0, 1]
        declared = read_info(dpsgd.server / "records", 1, name).defences[0]["args"]
        both = [accounting.dp_sgd(**declared).event] * 2
        assert verified.entries[-1].epsilons[0] == pytest.approx(accounting.epsilon(both, 1e-5))
        (balance,) = ledger.balances(verified.entries)
        assert (balance.unit, balance.relation) == ("record", "add_or_remove")
        assert balance.epsilon is not None
        assert 7.9 < balance.epsilon <= 8


@pytest.mark.parametrize(
    ("site", "rate", "steps", "batch_size"), [("site-1", 0.5, 2, 4), ("site-9", 1.0, 1, 1)]
)
def test_the_record_says_how_the_site_trained(dpsgd, site, rate, steps, batch_size):
    records = dpsgd.server / "records"
    info = read_info(records, 0, site)
    assert (info.n_steps, info.batch_size, info.optimizer) == (steps, batch_size, "dp_sgd")
    (defence,) = info.defences
    assert defence["name"] == "dp_sgd"
    assert (defence["args"]["sample_rate"], defence["args"]["steps"]) == (rate, steps)
    assert read_manifest(records).known_model().path == "medleak.custom.networks.resnet18_groupnorm"
    assert [problem for *_, problem in verify(records)] == [None] * 4


@pytest.mark.parametrize("site", SITES)
def test_what_leaves_is_noise_of_the_declared_scale_fresh_in_every_round(dpsgd, site):
    updates = []
    for round in (0, 1):
        found = read_record(dpsgd.server / "records", round, site)
        args = found.info.defences[0]["args"]
        flat = np.concatenate([v.ravel() for v in found.update.values()]).astype(np.float64)
        # Signal: clipped to norm 1 over 11 million entries, so it is nothing beside the noise.
        scale = LR * args["noise_multiplier"] * args["steps"] ** 0.5 / found.info.batch_size
        assert flat.std() == pytest.approx(scale, rel=0.01)
        updates.append(flat)
    assert abs(np.corrcoef(*updates)[0, 1]) < 0.01


def test_canaries_are_guessed_from_the_record_beside_the_ledgers_epsilon(dpsgd):
    records = dpsgd.server / "records"
    marks = {site: read_info(records, 1, site).canaries for site in SITES}
    assert marks["site-9"] is None
    assert marks["site-1"] is not None
    assert "site-1, round 1: CANARIES are planted" in dpsgd.log
    (place,) = dpsgd.workspace.rglob("medleak_canaries.json")
    assert place.is_relative_to(dpsgd.workspace / "site-1")
    assert not place.stat().st_mode & 0o077
    result = CliRunner().invoke(app, ["dp-audit", str(dpsgd.workspace), "--json"])
    (found,) = json.loads(result.stdout)
    assert found["claimed_by"] == "the site's ledger"
    assert found["claimed"] == pytest.approx(8, abs=0.1)
    assert found["bound"] < found["claimed"]
    assert (found["planted"], found["rounds"]) == (200, [0, 1])
    assert found["kind"] in ("not refuted", "out of reach")


def test_no_loss_and_no_accuracy_of_training_sites_reaches_the_server(dpsgd):
    assert "validation metric not existing in site-9" in dpsgd.log
    assert not list(dpsgd.server.glob("tb_events/*/*"))
    results = json.loads((dpsgd.server / "cross_site_val" / "cross_val_results.json").read_text())
    # The best model is unknown without them: the last one is tested, on images of no site.
    assert list(results["site-1"]) == ["SRV_FL_global_model.pt"]


def test_batch_norm_statistics_stay_at_the_site(fedbn):
    records = fedbn.server / "records"
    initial = networks.resnet18(2).state_dict()
    for round in (0, 1):
        for site in SITES:
            found = read_record(records, round, site)
            assert found.info.defences[0]["name"] == "withhold"
            statistics = {n for n in found.global_state if "running_" in n or "num_batches" in n}
            assert len(statistics) == 60
            assert set(found.update) == set(found.global_state) - statistics
            for name in statistics:
                np.testing.assert_array_equal(found.global_state[name], initial[name].numpy())


@pytest.mark.parametrize(("site", "steps"), [("site-1", 2), ("site-9", 1)])
def test_a_site_goes_on_from_its_own_statistics_in_the_next_round(fedbn, site, steps):
    kept = withheld(fedbn, site)
    assert kept["features.bn1.num_batches_tracked"] == 2 * steps


def test_the_site_that_tests_does_so_with_its_own_statistics(fedbn):
    results = json.loads((fedbn.server / "cross_site_val" / "cross_val_results.json").read_text())
    (measured,) = results["site-1"].values()
    saved = torch.load(fedbn.server / "app_server" / "best_FL_global_model.pt", weights_only=True)
    network = networks.resnet18(2)
    state = {**saved["model"], **withheld(fedbn, "site-1")}
    network.load_state_dict({n: torch.as_tensor(v) for n, v in state.items()})
    folder = fedbn.workspace / "site-1" / "simulate_job"
    items = load_datalist(folder / "datalist.json", num_classes=2)["test"]
    images, labels = load_images(items, spatial_size=(64, 64), channels=1)
    norm = sgd.Normalisation(IMAGENET_MEAN, IMAGENET_STD)
    expected = sgd.evaluate(network, images, labels, norm)
    assert measured["test_loss"] == pytest.approx(expected["loss"], rel=1e-3)


def withheld(run: Simulation, site: str):
    folder = run.workspace / site / "medleak_state" / "simulate_job" / "withheld"
    return storage.before_round(folder, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["cxr_clean", "--max_grad_norm", "1"], "take cxr_dpsgd"),
        (["cxr_dp", "--batch_norm", "withhold_all"], "take cxr_fedbn"),
        (["cxr_dpsgd", "--max_grad_norm", "0"], "max_grad_norm"),
        (["cxr_dpsgd", "--target_epsilon", "nan"], "target_epsilon"),
        (["cxr_dpsgd", "--target_delta", "1"], "delta"),
        (["cxr_dpsgd", "--noise_multiplier", "-1"], "noise_multiplier"),
        (["cxr_dpsgd", "--canaries", "films:count=3"], "canaries of kind"),
        (["cxr_dpsgd", "--canaries", "images:count=3", "--canary_site", "x"], "no site of the job"),
        (["cxr_clean", "--canary_site", "site-1"], "there are none"),
        (["brain_unet", "--canaries", "images:count=3"], "plant gradients"),
        (["cxr_he", "--canaries", "images:count=3"], "nothing is recorded"),
    ],
)
def test_a_setting_without_a_guarantee_or_a_filter_is_one_line(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        job_command(*options, "--env", "export", "--folder", str(tmp_path))
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_fixed_noise_is_counted_without_a_limit_unless_one_is_given(tmp_path):
    fixed = ("--noise_multiplier", "1.5", "--max_grad_norm", "0.5")
    config = client_config(export("cxr_dpsgd", tmp_path, *fixed))
    assert config["task_data_filters"] == []
    *_, book = config["task_result_filters"][0]["filters"]
    assert book["args"]["target_epsilon"] is None
    args = config["executors"][0]["executor"]["args"]["task_script_args"]
    assert "--noise_multiplier 1.5 --max_grad_norm 0.5 --sample_rate 0.5" in args
    limited = client_config(export("cxr_dpsgd", tmp_path, *fixed, "--target_epsilon", "3"))
    (budget,) = limited["task_data_filters"][0]["filters"]
    assert budget["args"]["planned"] == "dp_sgd:noise_multiplier=1.5,sample_rate=0.5,steps=2"
    assert budget["args"]["target_epsilon"] == 3


def test_canaries_go_to_one_site_and_the_jobs_readme_says_so(tmp_path):
    job = export("cxr_dpsgd", tmp_path, *OPTIONS, *CANARIES, "--canary_site", "site-9")
    scripts = {
        site: client_config(job, site)["executors"][0]["executor"]["args"]["task_script_args"]
        for site in SITES
    }
    assert "--canaries gradients:count=200" in scripts["site-9"]
    assert "canaries" not in scripts["site-1"]
    assert "CANARIES: site-9 plants gradients:count=200" in (job / "README.md").read_text()


def test_metrics_are_shared_under_dp_sgd_only_if_asked_for(tmp_path):
    for options, metrics in (((), "drop"), (("--share_metrics",), "pass")):
        job = export("cxr_dpsgd", tmp_path, "--noise_multiplier", "1", *options)
        config = client_config(job)
        assert config["task_result_filters"][0]["filters"][0]["args"]["metrics"] == metrics
        args = config["executors"][0]["executor"]["args"]["task_script_args"]
        assert args.endswith("--share_metrics") == bool(options)
