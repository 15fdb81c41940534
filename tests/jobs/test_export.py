"""Tests of jobs/job.py: the committed job folders are what it exports."""

import filecmp
import importlib
import importlib.util
import json
import math
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from medleak.custom.flare.installed_client import InstalledClient
from medleak.custom.sites.table import TMI_TABLE_II, batch_size_of, scaled
from medleak.custom.training import client
from medleak.custom.training.arguments import parse
from medleak.filters.allowed import SERVER_CLASSES, SITE_CLASSES
from tests.jobs.simulation import ROOT, client_config, export

pytestmark = pytest.mark.slow

JOBS = ROOT / "jobs"


def files(folder: Path) -> set[str]:
    return {str(f.relative_to(folder)) for f in folder.glob("**/*") if f.is_file()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    command = [sys.executable, str(JOBS / "job.py"), "--env", "export", "--folder", str(folder)]
    subprocess.run(command, check=True, timeout=100)
    return folder


def test_every_committed_job_is_its_export(exported):
    names = {f.name for f in exported.iterdir()}
    assert names == {f.name for f in JOBS.iterdir() if (f / "meta.json").exists()}
    for name in names:
        assert files(exported / name) == files(JOBS / name)
        _, different, unreadable = filecmp.cmpfiles(
            exported / name, JOBS / name, files(exported / name), shallow=False
        )
        assert (different, unreadable) == ([], []), "run: python jobs/job.py --env export"


def test_a_job_has_the_nine_sites_of_the_paper_with_their_batch_sizes(exported):
    meta = json.loads((exported / "cxr_dp" / "meta.json").read_text())
    assert meta["min_clients"] == 9
    sites = [f"site-{n}" for n in range(1, 10)]
    assert meta["deploy_map"] == {"app_server": ["server"], "app_client": sites}
    args = script_args(client_config(exported / "cxr_dp"))
    sizes = {site: batch_size_of(args.table, site) for site in sites}
    assert sizes == dict(zip(sites, (4, 4, 4, 4, 8, 8, 8, 8, 1), strict=True))
    assert args.batch_size is None


def test_sites_that_differ_in_nothing_share_one_app_and_keep_their_names(exported):
    apps = {}
    for job in exported.iterdir():
        meta = json.loads((job / "meta.json").read_text())
        deployed = meta["deploy_map"]
        assert {f.name for f in job.iterdir() if f.is_dir()} == set(deployed)
        assert deployed.pop("app_server") == ["server"]
        served = [site for sites in deployed.values() for site in sites]
        table = script_args(client_config(job, served[0])).table
        assert sorted(served) == sorted(site.name for site in table)
        assert len(served) == meta["min_clients"]
        contents = {
            tuple((f, (job / app / f).read_bytes()) for f in sorted(files(job / app)))
            for app in deployed
        }
        assert len(contents) == len(deployed)
        apps[job.name] = len(deployed)
    # Under DP-SGD noise and sampling are a site's own: five rates among nine sites.
    assert {name: n for name, n in apps.items() if n > 1} == {"cxr_dpsgd": 5}


def test_under_dp_sgd_every_site_samples_at_the_rate_of_its_own_row(exported):
    job = exported / "cxr_dpsgd"
    for row in scaled(TMI_TABLE_II, 1 / 8):
        rate = script_args(client_config(job, row.name)).sample_rate
        assert rate == 1 / math.ceil(row.training / row.batch_size)


def test_an_export_leaves_no_app_of_the_one_before(tmp_path):
    export("cxr_dpsgd", tmp_path)
    job = export("cxr_dpsgd", tmp_path, "--table", "a:2:16:4,b:2:16:4")
    assert {f.name for f in job.iterdir() if f.is_dir()} == {"app_server", "app_client"}
    assert json.loads((job / "meta.json").read_text())["deploy_map"]["app_client"] == ["a", "b"]


def test_clients_serve_no_task_that_the_filters_do_not_know(exported):
    configs = list(exported.glob("*/*/config/config_fed_client.json"))
    assert len(configs) >= len(list(exported.iterdir()))
    for config in configs:
        text = json.loads(config.read_text())
        assert [e["tasks"] for e in text["executors"]] == [["train", "validate"]]
        for chain in text["task_result_filters"]:
            assert chain["tasks"] == ["train"]


def test_the_dp_job_differs_from_the_clean_one_by_its_filter_alone(exported):
    clean, dp = (client_config(exported / job, "site-9") for job in ("cxr_clean", "cxr_dp"))
    (chain,) = dp.pop("task_result_filters")
    assert clean.pop("task_result_filters") == []
    assert clean == dp
    (noise,) = chain["filters"]
    assert noise["path"].endswith(".PercentileGaussian")
    assert (noise["args"]["sigma0"], noise["args"]["percentile"]) == (10.0, 95.0)


def test_options_reach_the_exported_job(tmp_path):
    options = {"num_rounds": "100", "sigma0": "25", "scale": "1.0", "spatial_size": "224"}
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    table = "a:2:4:6,b:1:1:6:a"
    job = export("cxr_dp", tmp_path, "--table", table, *given)
    server = json.loads((job / "app_server" / "config" / "config_fed_server.json").read_text())
    assert server["workflows"][0]["args"]["num_rounds"] == 100
    assert server["workflows"][0]["args"]["num_clients"] == 2
    client = client_config(job, "b")
    assert f"--table {table}" in raw_args(client)
    assert "--spatial_size 224 224" in raw_args(client)
    assert filters(client)[0][1]["sigma0"] == 25.0


def exported_with(tmp_path, name: str, *options: str) -> tuple[dict, dict]:
    """Server's and first site's configuration."""
    job = export(name, tmp_path, *options)
    server = json.loads((job / "app_server" / "config" / "config_fed_server.json").read_text())
    return server, client_config(job)


def raw_args(config: dict) -> str:
    (executor,) = config["executors"]
    return executor["executor"]["args"]["task_script_args"]


def script_args(config: dict) -> Namespace:
    """The script's arguments as it reads them."""
    return parse(raw_args(config).split())


def filters(config: dict) -> list[tuple[str, dict]]:
    return [
        (f["path"].rpartition(".")[2], f["args"])
        for chain in config["task_result_filters"]
        for f in chain["filters"]
    ]


def component(config: dict, name: str) -> dict:
    return next(c["args"] for c in config["components"] if c["id"] == name)


def test_every_job_says_in_about_ten_lines_what_it_is_for(exported):
    texts = {f.name: (f / "README.md").read_text() for f in exported.iterdir()}
    assert len(set(texts.values())) == len(texts)
    for name, text in texts.items():
        assert text.startswith(f"# {name}\n")
        assert f"nvflare simulator jobs/{name}" in text
        assert 8 <= len(text.splitlines()) <= 16


def test_any_registered_defence_becomes_filters_in_its_order(tmp_path):
    spec = "withhold+top_k:fraction=0.01+percentile_gaussian:sigma0=2,scope=group"
    _, client = exported_with(tmp_path, "cxr_clean", "--defence", spec, "--error_feedback")
    (first, _), (second, sparse), (third, noise) = filters(client)
    assert [first, second, third] == ["Withhold", "TopK", "PercentileGaussian"]
    assert (sparse["fraction"], sparse["error_feedback"]) == (0.01, True)
    assert (noise["sigma0"], noise["scope"]) == (2, "group")
    (restore,) = client["task_data_filters"][0]["filters"]
    assert restore["path"].endswith(".RestoreWithheld")


def test_a_defence_with_a_guarantee_is_counted_in_the_ledger(tmp_path):
    spec = "clipped_gaussian:max_grad_norm=1,noise_multiplier=2"
    _, client = exported_with(tmp_path, "cxr_clean", "--defence", spec)
    assert [name for name, _ in filters(client)] == ["ClippedGaussian", "PrivacyLedger"]


def test_parameters_of_a_defence_are_options_and_laplace_follows_the_learning_rate(tmp_path):
    _, client = exported_with(tmp_path, "cxr_laplace", "--level", "400", "--lr", "0.1")
    ((name, args),) = filters(client)
    assert (name, args["level"], args["lr"]) == ("LaplacePerturbation", 400, 0.1)
    _, client = exported_with(tmp_path, "cxr_dp", "--scope", "group")
    assert filters(client)[0][1]["scope"] == "group"
    _, client = exported_with(tmp_path, "cxr_dp", "--defence", "none")
    assert filters(client) == []


def test_any_importable_model_reaches_server_sites_and_record(tmp_path):
    options = ("--model", "my.nets.make", "--model_args", '{"width": [8, 16], "act": "re lu"}')
    server, client = exported_with(tmp_path, "cxr_clean", *options)
    given = {"width": [8, 16], "act": "re lu"}
    initial = component(server, "persistor")["model"]["args"]
    assert (initial["model_path"], initial["model_args"]) == ("my.nets.make", given)
    assert initial["weights"] == "random"  # MEDLEAK_WEIGHTS is of a ResNet-18
    ((_, recorder),) = filters(server)
    assert (recorder["model_path"], recorder["model_args"]) == ("my.nets.make", given)
    args = raw_args(client)
    assert "--model_path my.nets.make --model_args width=[8,16] act=%22re%20lu%22 --" in args


def test_a_class_may_be_called_anything_that_a_folder_is(tmp_path):
    names = ["Viral Pneumonia", "{x}", 'a "b"', "100%", "größer"]
    server, client = exported_with(tmp_path, "cxr_clean", "--classes", *names)
    ((_, recorder),) = filters(server)
    assert recorder["class_names"] == names
    words = raw_args(client).split()
    given = words[words.index("--classes") + 1 : words.index("--modality")]
    assert parse([*words[: words.index("--run_dir") + 1], "x"]).classes == names
    assert not set("{}\"' ") & set("".join(given))


def test_fedsgd_draws_half_of_the_sites_and_takes_one_step_on_all_images(exported):
    job = exported / "medpfl_fedsgd"
    server = json.loads((job / "app_server" / "config" / "config_fed_server.json").read_text())
    assert server["workflows"][0]["args"]["num_clients"] == 4
    meta = json.loads((job / "meta.json").read_text())
    assert meta["min_clients"] == 8
    assert raw_args(client_config(job)).count("--full_batch") == 1
    assert meta["deploy_map"]["app_client"] == [f"site-{n}" for n in range(1, 9)]


@pytest.mark.parametrize("data", ["melanoma", "cxr", "brain_mri", "cifar10"])
def test_medpfl_normalises_by_the_statistics_of_its_table_iv(tmp_path, data):
    server, _ = exported_with(tmp_path, "medpfl_fedsgd", "--data", data, "--model", "lenet")
    ((_, recorder),) = filters(server)
    means = {"melanoma": 0.7160, "cxr": 0.4949, "brain_mri": 0.1869, "cifar10": 0.4914}
    assert recorder["input"]["mean"][0] == means[data]
    assert recorder["task"]["num_classes"] == len(recorder["class_names"])


def test_a_segmentation_record_says_so(exported):
    path = exported / "brain_unet" / "app_server" / "config" / "config_fed_server.json"
    ((_, recorder),) = filters(json.loads(path.read_text()))
    assert recorder["task"] == {"criterion": "segmentation_cross_entropy", "num_classes": 2}
    assert recorder["class_names"] == ["background", "foreground"]


def test_fedprox_and_fedopt_are_nvflares(tmp_path):
    server, _ = exported_with(tmp_path, "cxr_clean", "--fedprox_mu", "0.1")
    assert server["workflows"][0]["args"]["fedprox_mu"] == 0.1
    spec = ("--server_optimizer", "sgd:lr=1.0,momentum=0.9")
    server, _ = exported_with(tmp_path, "cxr_clean", *spec)
    assert server["workflows"][0]["path"].endswith(".ScatterAndGather")
    update = component(server, "shareable_generator")
    assert update["server_args"] == {"lr": 1.0, "momentum": 0.9}
    assert update["model_path"] == component(server, "persistor")["model"]["args"]["model_path"]


@pytest.mark.parametrize("tracking", ["tensorboard", "none"])
def test_tracking_is_nvflares_switch(tmp_path, tracking):
    server, _ = exported_with(tmp_path, "cxr_clean", "--tracking", tracking)
    paths = " ".join(c["path"] for c in server["components"])
    assert ("tracking.tb." in paths) == (tracking == "tensorboard")


@pytest.mark.parametrize("tracking", ["mlflow", "wandb"])
def test_tracking_that_is_not_installed_is_one_line(tmp_path, capsys, tracking):
    if importlib.util.find_spec(tracking) is not None:
        server, _ = exported_with(tmp_path, "cxr_clean", "--tracking", tracking)
        assert any(f"tracking.{tracking}." in c["path"] for c in server["components"])
        return
    with pytest.raises(SystemExit):
        export("cxr_clean", tmp_path, "--tracking", tracking)
    assert f"{tracking} is not installed" in capsys.readouterr().err.splitlines()[-1]


def test_a_job_for_sites_that_forbid_code_ships_none(tmp_path):
    _, site = exported_with(tmp_path, "cxr_dp", "--installed")
    assert not list((tmp_path / "cxr_dp").glob("**/custom"))
    (executor,) = site["executors"]
    assert executor["executor"]["path"] == "medleak.custom.flare.installed_client.InstalledClient"
    assert set(executor["executor"]["args"]) == {"task_script_args"}
    assert site["components"] == []  # no widget that sends events past the site's filters
    assert executor["tasks"] == ["train", "validate"]
    paths = [f["path"] for chain in site["task_result_filters"] for f in chain["filters"]]
    assert paths == ["medleak.filters.adapters.PercentileGaussian"]


def test_the_installed_client_runs_the_packages_own_script_before_the_sites_filters():
    executor = InstalledClient("--batch_size 1")
    assert executor._task_script_path == client.__file__
    assert executor._execution_mode == "in_process"


def classes(found: object) -> Iterator[str]:
    """Every class that NVFlare would build of a configuration."""
    if isinstance(found, dict):
        if isinstance(found.get("path"), str):
            yield found["path"]
        for key, value in found.items():  # arguments may be called path as well
            yield from classes(list(value.values()) if key == "args" else value)
    elif isinstance(found, list):
        for value in found:
            yield from classes(value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cxr_dp", ()),
        ("cxr_dpsgd", ()),
        ("cxr_fedbn", ()),
        ("brain_unet", ()),
        ("cxr_compressed", ("--server_optimizer", "sgd:lr=1.0")),
    ],
)
def test_a_job_without_code_builds_listed_classes_alone(name, options, tmp_path):
    server, site = exported_with(tmp_path, name, "--installed", *options)
    assert sorted(set(classes(server)) - set(SERVER_CLASSES)) == []
    assert sorted(set(classes(site)) - set(SITE_CLASSES)) == []


def test_a_job_without_code_does_not_track_past_the_filters(tmp_path, capsys):
    with pytest.raises(SystemExit):
        export("cxr_clean", tmp_path, "--installed", "--tracking", "tensorboard")
    assert "past the filters" in capsys.readouterr().err.splitlines()[-1]
