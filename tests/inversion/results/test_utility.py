"""Tests of medleak.inversion.results.utility: test accuracy of federations."""

import json
from pathlib import Path

import pytest

from medleak.custom.data.datalist import Item, save_datalist
from medleak.inversion.results.utility import (
    Utility,
    of_text,
    read_utilities,
    read_utility,
    write_utilities,
)


@pytest.fixture
def nvflare_run(tmp_path) -> Path:
    """What NVFlare's cross-site validation leaves: a share, and no number of images."""
    run = tmp_path / "clean"
    server = run / "server" / "simulate_job" / "cross_site_val"
    server.mkdir(parents=True)
    metrics = {"SRV_best_FL_global_model.pt": {"test_accuracy": 0.75, "test_loss": 0.6}}
    (server / "cross_val_results.json").write_text(json.dumps({"site-1": metrics}))
    items = [Item(f"{k}.png", k % 2, f"p{k}") for k in range(40)]
    folder = run / "site-1" / "simulate_job"
    save_datalist(folder / "datalist.json", {"training": [items[0]], "test": items[1:]})
    return run


def own_report(run: Path, **changes) -> Path:
    folder = run / "server" / "simulate_job"
    folder.mkdir(parents=True, exist_ok=True)
    accuracy = {"value": 0.8, "lower95": 0.7, "upper95": 0.9}
    (folder / "test_metrics.json").write_text(json.dumps({"n": 50, "accuracy": accuracy} | changes))
    return run


def test_nvflares_own_file_is_read_with_wilsons_interval(nvflare_run):
    found = read_utility(nvflare_run, "none", 0.0)
    assert (found.accuracy, found.n, found.source) == (0.75, 39, "clean")
    # (0.75 + z²/78 ± z sqrt(0.1875/39 + z²/6084)) / (1 + z²/39) with z = 1.96
    assert found.lower95 == pytest.approx(0.5960, abs=1e-4)
    assert found.upper95 == pytest.approx(0.8592, abs=1e-4)


def test_our_own_report_comes_first_with_its_own_interval(nvflare_run):
    found = read_utility(own_report(nvflare_run), "none")
    assert (found.accuracy, found.lower95, found.upper95, found.n) == (0.8, 0.7, 0.9, 50)


def test_utilities_are_added_and_replaced_by_defence_and_run(tmp_path):
    def of(defence, source, accuracy):
        return Utility(
            defence=defence, strength=1.0, accuracy=accuracy, lower95=0.1, upper95=0.9, n=9,
            source=source,
        )  # fmt: skip

    assert read_utilities(tmp_path) == []
    write_utilities(tmp_path, [of("none", "a", 0.5), of("top_k:fraction=0.1", "b", 0.6)])
    write_utilities(tmp_path, [of("none", "a", 0.7), of("none", "c", 0.8)])
    assert [(u.defence, u.source, u.accuracy) for u in read_utilities(tmp_path)] == [
        ("top_k:fraction=0.1", "b", 0.6),
        ("none", "a", 0.7),
        ("none", "c", 0.8),
    ]
    (tmp_path / "utility.json").write_text('[{"accuracy": 1}]')
    with pytest.raises(ValueError, match=r"utility\.json is damaged"):
        read_utilities(tmp_path)


def test_a_run_is_named_after_the_last_equals_sign():
    text = "percentile_gaussian:sigma0=10,scope=group=runs/dp"
    assert of_text(text) == ("percentile_gaussian:sigma0=10,scope=group", Path("runs/dp"))
    for wrong in ("none", "=runs", "none="):
        with pytest.raises(ValueError, match="is not of the form DEFENCE=RUN"):
            of_text(wrong)


def test_what_has_no_test_result_is_refused(tmp_path, nvflare_run):
    with pytest.raises(ValueError, match="does not exist"):
        read_utility(tmp_path / "nowhere", "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="its model was not tested"):
        read_utility(tmp_path / "empty", "none")
    own_report(tmp_path / "two" / "a")
    own_report(tmp_path / "two" / "b")
    with pytest.raises(ValueError, match=r"holds 2 files test_metrics\.json"):
        read_utility(tmp_path / "two", "none")
    (nvflare_run / "site-1" / "simulate_job" / "datalist.json").unlink()
    with pytest.raises(ValueError, match="on 0 images: no interval can be given"):
        read_utility(nvflare_run, "none")


@pytest.mark.parametrize(
    "changes", [{"n": 0}, {"accuracy": None}, {"accuracy": {"value": 2}}, {"n": "many"}]
)
def test_a_damaged_report_is_refused(tmp_path, changes):
    run = own_report(tmp_path / "run", **changes)
    with pytest.raises(ValueError, match=r"test_metrics\.json"):
        read_utility(run, "none")
