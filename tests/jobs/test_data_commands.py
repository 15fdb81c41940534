"""What ``medleak data`` says comes next is a job that takes the images just prepared."""

import importlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from medleak.custom.datasets.catalogue import DATA_SETS
from medleak.custom.datasets.medmnist import SUBSETS
from medleak.custom.phantoms import MODALITIES
from medleak.custom.sites.split import format_table
from medleak.custom.training.site_data import Source, site_lists
from medleak.inversion.cli import app
from tests.jobs.simulation import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def job(monkeypatch) -> Any:
    """The script jobs/job.py."""
    monkeypatch.syspath_prepend(ROOT / "jobs")
    return importlib.import_module("job")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield
    sys.path[:] = path


def next_job(job: Any, *args: object) -> tuple[Path, Any]:
    """The data and the configured job of the line that begins with ``next:``."""
    result = CliRunner().invoke(app, ["data", *map(str, args)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    (line,) = [x for x in result.stdout.splitlines() if x.startswith("next: ")]
    data, python, script, *words = shlex.split(line.removeprefix("next: "))
    assert (python, script) == ("python", "jobs/job.py")
    options = job.parser().parse_args(words)
    variable, _, folder = data.partition("=")
    assert variable == "MEDLEAK_DATA"
    return Path(folder), job.configured(job.JOBS[options.name], options)


def trains(folder: Path, made: Any, run_dir: Path) -> int:
    """Number of training images of all sites of the job ``made`` on ``folder``."""
    source = Source(classes=made.data.classes, data_root=folder, table=made.table, masks=made.masks)
    return sum(
        len(site_lists(source, site.name, run_dir / site.name)["training"]) for site in made.table
    )


@pytest.mark.parametrize("name", [name for name, known in DATA_SETS.items() if not known.prior])
def test_the_job_of_a_known_set_has_its_classes_channels_and_sites(job, name):
    known = DATA_SETS[name]
    options = job.parser().parse_args(shlex.split(known.job))
    made = job.configured(job.JOBS[options.name], options)
    assert made.data.classes == known.classes
    assert made.data.channels == known.channels
    assert format_table(made.table) == format_table(known.table)


def test_a_prior_has_no_job():
    assert {known.job for known in DATA_SETS.values() if known.prior} == {""}


@pytest.mark.parametrize("table", [(), ("--table", "north:2:4:4,visitor:1:1:4:north")])
def test_lists_of_a_folder_are_what_the_next_command_trains_on(job, tmp_path, table):
    root = tmp_path / "two words"
    next_job(job, "synthetic", "cxr", "-n", 320, "--size", 16, "-o", root)
    (root / "normal").rename(root / "no finding")
    folder, made = next_job(job, "folder", root, "--no-check", *table)
    assert made.data.classes == ("no finding", "pneumonia")
    assert trains(folder, made, tmp_path) > 4


@pytest.mark.parametrize(
    ("modality", "masks"),
    [(m, masks) for m in MODALITIES for masks in (False, True) if MODALITIES[m].masks or not masks],
)
def test_phantoms_that_were_kept_are_what_the_next_command_trains_on(
    job, tmp_path, modality, masks
):
    options = ("-n", "400", "--size", "16", *(("--masks",) if masks else ()))
    folder, made = next_job(job, "synthetic", modality, *options)
    assert (made.masks, made.data.classes) == (masks, MODALITIES[modality].classes)
    assert trains(folder, made, tmp_path) > 4


@pytest.mark.parametrize("name", SUBSETS)
def test_the_next_command_after_medmnist_has_its_classes(job, name):
    subset = SUBSETS[name]
    n = 100  # of each part: enough for the sites of a job
    shape = (n, 64, 64) if subset.channels == 1 else (n, 64, 64, 3)
    labels = np.arange(n)[:, None] % len(subset.classes)
    arrays: dict[str, Any] = {}
    for part in ("train", "val", "test"):
        arrays |= {f"{part}_images": np.zeros(shape, np.uint8), f"{part}_labels": labels}
    np.savez("x.npz", **arrays)
    _, made = next_job(job, "medmnist", name, "--npz", "x.npz")
    assert made.data.classes == subset.classes
    if subset.channels == 3:
        assert made.data.channels == 3
