"""The command line of jobs/job.py: what it refuses, and where it looks for files."""

import importlib
import json
from pathlib import Path

import pytest

from tests.jobs.simulation import ROOT, export, job_command

pytestmark = pytest.mark.slow

JOBS = ROOT / "jobs"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["cxr_dp", "--defence", "top-k"], "Unknown defence 'top-k'"),
        (["cxr_dp", "--defence", "top_k:fraction=2"], "fraction"),
        (["cxr_clean", "--level", "100"], "take cxr_laplace"),
        (["cxr_clean", "--error_feedback"], "no filter"),
        (["cxr_dp", "--error_feedback"], "--defence that compresses"),
        (["cxr_dp", "--weights", "no_such.pt"], "is no file here"),
        (["cxr_dp", "--workspace", "run"], "--workspace is of --env sim"),
        (["cxr_dp", "--threads", "2"], "--threads is of --env sim"),
        (["cxr_dp", "--startup_kit", "kit"], "--startup_kit is of --env prod"),
        (["cxr_clean", "--data", "melanoma"], "is of medpfl_fedsgd"),
        (["cxr_clean", "--clients_per_round", "10"], "clients_per_round must be 1 to 9"),
        (["cxr_clean", "--fedprox_mu", "1", "--server_optimizer", "sgd"], "choose one"),
        (["cxr_clean", "--server_optimizer", "sgd:lr"], "sgd:lr=1.0,momentum=0.9"),
        (["cxr_dpsgd", "--model", "resnet18"], "batch norm"),
        (["medpfl_fedsgd", "--local_epochs", "2"], "one step a round"),
        (["brain_unet", "--model_args", "{norm}"], "--model_args"),
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
def test_a_bad_option_is_one_line_and_nothing_is_written(tmp_path, capsys, options, message):
    to = ["--env", "export", "--folder", str(tmp_path)] if options else []
    with pytest.raises(SystemExit) as end:
        job_command(*options, *to)
    assert end.value.code != 0
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workspace", "my run"], "has a space in its path"),
        (["--workspace", "a_file/run"], "is a file, name a folder"),
        (["--env", "export", "--folder", "a_file"], "is a file, name a folder"),
        (["--folder", "jobs"], "--folder is of --env export"),
        (["--env", "poc", "--workspace", "run"], "the environment is poc"),
        (["--env", "prod"], "--startup_kit, got None"),
        (["--env", "prod", "--startup_kit", "no_kit"], "--startup_kit, got 'no_kit'"),
    ],
)
def test_what_an_environment_would_ignore_or_fail_on_is_one_line(
    tmp_path, capsys, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    with pytest.raises(SystemExit) as end:
        job_command("cxr_clean", *options)
    assert end.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert [f.name for f in tmp_path.iterdir()] == ["a_file"]


def test_relative_paths_are_seen_from_where_the_user_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first.safetensors").touch()
    export("cxr_clean", Path("out/jobs"), "--weights", "first.safetensors")
    text = (tmp_path / "out/jobs/cxr_clean/app_server/config/config_fed_server.json").read_text()
    assert json.dumps(str((tmp_path / "first.safetensors").resolve())) in text


class Reached(Exception):
    """NVFlare's production environment would have been made."""


def test_a_relative_startup_kit_is_seen_from_where_the_user_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(JOBS))
    (tmp_path / "admin").mkdir()
    given = []

    def environment(startup_kit_location: str):
        given.append(startup_kit_location)
        raise Reached

    monkeypatch.setattr(importlib.import_module("job"), "ProdEnv", environment)
    with pytest.raises(Reached):
        job_command("cxr_clean", "--env", "prod", "--startup_kit", "admin", "--installed")
    assert given == [str((tmp_path / "admin").resolve())]
