"""Tests of jobs/job.py: the committed job folders are what it exports."""

import filecmp
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "jobs"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(JOBS / "job.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def files(folder: Path) -> set[str]:
    return {str(f.relative_to(folder)) for f in folder.glob("**/*") if f.is_file()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    assert run("--env", "export", "--folder", str(folder)).returncode == 0
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
    sizes = {}
    for n in range(1, 10):
        config = exported / "cxr_dp" / f"app_site-{n}" / "config" / "config_fed_client.json"
        (executor,) = json.loads(config.read_text())["executors"]
        args = executor["executor"]["args"]["task_script_args"].split()
        sizes[n] = int(args[args.index("--batch_size") + 1])
    assert sizes == {1: 4, 2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 8: 8, 9: 1}


def test_clients_serve_no_task_that_the_filters_do_not_know(exported):
    for config in exported.glob("*/app_site-*/config/config_fed_client.json"):
        text = json.loads(config.read_text())
        assert [e["tasks"] for e in text["executors"]] == [["train", "validate"]]
        for chain in text["task_result_filters"]:
            assert chain["tasks"] == ["train"]


def test_the_dp_job_differs_from_the_clean_one_by_its_filter_alone(exported):
    def config(job):
        path = exported / job / "app_site-9" / "config" / "config_fed_client.json"
        return json.loads(path.read_text())

    clean, dp = config("cxr_clean"), config("cxr_dp")
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
    done = run("cxr_dp", "--env", "export", "--folder", str(tmp_path), "--table", table, *given)
    assert done.returncode == 0, done.stderr
    job = tmp_path / "cxr_dp"
    server = json.loads((job / "app_server" / "config" / "config_fed_server.json").read_text())
    assert server["workflows"][0]["args"]["num_rounds"] == 100
    assert server["workflows"][0]["args"]["num_clients"] == 2
    client = (job / "app_b" / "config" / "config_fed_client.json").read_text()
    assert f"--table {table}" in client
    assert "--spatial_size 224 224" in client
    assert '"sigma0": 25.0' in client


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["cxr_dp", "--sigma0", "-1"], "sigma0"),
        (["cxr_dp", "--sigma0", "nan"], "sigma0"),
        (["cxr_dp", "--percentile", "101"], "percentile"),
        (["cxr_clean", "--sigma0", "1"], "no filter"),
        (["cxr_dp", "--num_rounds", "0"], "num_rounds"),
        (["cxr_dp", "--table", "a:b"], "table"),
        (["cxr_dp", "--spatial_size", "8"], "spatial_size"),
        ([], "name a job"),
    ],
)
def test_a_bad_option_is_one_line_and_nothing_is_written(tmp_path, options, message):
    export = ["--env", "export", "--folder", str(tmp_path)] if options else []
    done = run(*options, *export)
    assert done.returncode != 0
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
