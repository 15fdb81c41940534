"""Jobs in NVFlare's simulator, with real processes: what is recorded, and what must not be."""

import json
from pathlib import Path

import numpy as np
import pytest

from medleak.custom.data.datalist import load_datalist
from medleak.custom.data.transforms import load_images
from medleak.custom.record import list_updates, read_info, read_record, verify
from tests.jobs.simulation import Simulation, export, own_app, simulate

pytestmark = [pytest.mark.simulator, pytest.mark.timeout(300)]

SMALL = "site-1:4:8:8,site-9:1:1:8:site-1"
ROUNDS = 2


@pytest.fixture(scope="module")
def noised(tmp_path_factory) -> Simulation:
    """Two rounds on colour images, noise on every update: what most tests here look at."""
    folder = tmp_path_factory.mktemp("noised")
    options = ("--table", SMALL, "--num_rounds", str(ROUNDS), "--scale", "1", "--sigma0", "1")
    run = simulate(export("fundus_dp", folder, *options), folder / "workspace", threads=2)
    assert run.returncode == 0, run.log[-3000:]
    return run


def test_every_update_of_every_site_is_recorded_and_sound(noised):
    records = noised.server / "records"
    expected = [(r, s) for r in range(ROUNDS) for s in ("site-1", "site-9")]
    assert list_updates(records) == expected
    assert [problem for *_, problem in verify(records)] == [None] * len(expected)


def test_the_site_declares_its_schedule(noised):
    info = read_info(noised.server / "records", 0, "site-1")
    assert (info.n_images, info.n_steps, info.batch_size, info.lr) == (8, 2, 4, 0.01)
    info = read_info(noised.server / "records", 1, "site-9")
    assert (info.n_images, info.n_steps, info.batch_size) == (1, 1, 1)


def test_the_next_model_is_the_last_one_plus_the_weighted_mean_of_the_updates(noised):
    first, second = (
        {site: read_record(noised.server / "records", r, site) for site in ("site-1", "site-9")}
        for r in range(ROUNDS)
    )
    weights = {site: found.info.known("n_images") for site, found in first.items()}
    for name, sent in first["site-1"].global_state.items():
        mean = sum(
            w / sum(weights.values()) * first[site].update[name].astype(np.float64)
            for site, w in weights.items()
        )
        np.testing.assert_allclose(
            second["site-1"].global_state[name], sent + mean, rtol=1e-5, atol=1e-5, err_msg=name
        )


def test_the_selected_model_is_kept_and_tested(noised):
    assert (noised.server / "app_server" / "best_FL_global_model.pt").is_file()
    results = json.loads((noised.server / "cross_site_val" / "cross_val_results.json").read_text())
    (metrics,) = results["site-1"].values()
    assert list(results["site-1"]) == ["SRV_best_FL_global_model.pt"]
    assert 0 <= metrics["test_accuracy"] <= 1


def test_losses_of_every_site_are_in_tensorboard(noised):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for site in ("site-1", "site-9"):
        events = EventAccumulator(str(noised.server / "tb_events" / site)).Reload()
        assert {e.step for e in events.Scalars("training_loss")} == set(range(ROUNDS))


def test_colour_images_are_trained_on_noised_recorded_and_tested(noised):
    found = read_record(noised.server / "records", 0, "site-9")
    assert found.manifest.known_input().channels == 3
    (defence,) = found.info.defences
    assert (defence["name"], defence["args"]["sigma0"]) == ("percentile_gaussian", 1.0)
    lists = load_datalist(noised.workspace / "site-9" / "simulate_job" / "datalist.json")
    images, _ = load_images(lists["training"], spatial_size=(64, 64), channels=3)
    assert (images[:, 0] - images[:, 2]).abs().mean() > 0.1  # a fundus is red, not gray
    tested = json.loads((noised.server / "test_metrics.json").read_text())
    assert (tested["site"], tested["classes"]) == ("site-1", ["normal", "glaucoma"])
    assert tested["accuracy"]["lower95"] <= tested["accuracy"]["value"]


def test_the_server_side_holds_no_image_and_no_file_name_of_a_site(noised):
    lists = json.loads((noised.workspace / "site-9" / "simulate_job" / "datalist.json").read_text())
    (trained_on,) = lists["training"]
    name = Path(trained_on["image"]).name.encode()
    for file in (noised.workspace / "server").glob("**/*"):
        assert file.suffix not in {".png", ".jpg"}
        if file.is_file():
            assert name not in file.read_bytes(), file


def test_an_update_whose_filter_raises_never_reaches_the_server(tmp_path):
    job = export("cxr_dp", tmp_path, "--table", SMALL, "--num_rounds", "1", "--scale", "1")
    path = own_app(job, "site-9") / "config" / "config_fed_client.json"
    config = json.loads(path.read_text())
    # A pattern that no layer has: only the update itself can tell.
    nowhere = {"batch_norm": "send", "layers": ["no_such_layer.*"]}
    withhold = {"path": "medleak.filters.adapters.Withhold", "args": nowhere}
    config["task_result_filters"][0]["filters"].insert(0, withhold)
    path.write_text(json.dumps(config))
    run = simulate(job, tmp_path / "workspace", threads=2)
    assert run.returncode == 2
    assert "TASK_RESULT_FILTER_ERROR" in run.log
    recorded = list_updates(run.server / "records")
    assert "site-9" not in {site for _, site in recorded}


def test_whole_weights_that_would_hold_the_sites_own_are_refused_before_training(tmp_path):
    job = export("cxr_dp", tmp_path, "--table", SMALL, "--num_rounds", "1", "--scale", "1")
    config = own_app(job, "site-9") / "config" / "config_fed_client.json"
    text = json.loads(config.read_text().replace('"DIFF"', '"FULL"'))
    keeps = {
        "path": "medleak.filters.adapters.Withhold",
        "args": {"batch_norm": "withhold_statistics"},
    }
    text["task_result_filters"][0]["filters"].insert(0, keeps)
    config.write_text(json.dumps(text))
    run = simulate(job, tmp_path / "workspace", threads=2)
    assert run.returncode == 2
    assert "no task is run here: ClientAPIExecutor sends FULL weights" in run.log
    assert "UNSAFE_JOB" in run.log
    recorded = list_updates(run.server / "records")
    assert "site-9" not in {site for _, site in recorded}


def test_missing_data_end_the_job_with_one_line_that_says_what_to_do(tmp_path):
    job = export("cxr_clean", tmp_path, "--table", SMALL, "--num_rounds", "1")
    run = simulate(job, tmp_path / "workspace", threads=2, MEDLEAK_DATA=str(tmp_path / "nowhere"))
    assert run.returncode == 2
    lines = [line for line in run.log.splitlines() if "does not exist" in line]
    in_full = [line for line in lines if "in full" in line]
    assert in_full
    for line in lines:
        assert ("nowhere" in line) == ("in full" in line)
        assert "Name a folder" in line
    for log in run.workspace.glob("**/*log*"):  # which NVFlare may stream to the server
        assert not log.is_file() or b"nowhere" not in log.read_bytes(), log
    assert "DataError" not in run.log  # no traceback of ours buries it
    assert list_updates(run.server / "records") == []
