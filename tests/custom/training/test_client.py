"""Tests of medleak.custom.training.client: one site, without a federation around it."""

import json
import logging

import numpy as np
import nvflare.client
import pytest
import torch
from nvflare.app_common.abstract.fl_model import FLModel
from PIL import Image

from medleak.custom.data.transforms import network_input
from medleak.custom.training import REPORT, client
from medleak.custom.training.arguments import parse
from medleak.custom.training.initial import build_job_network, format_args
from medleak.custom.training.sgd import Normalisation, evaluate

LENET = "medleak.custom.small_networks.lenet"
TABLE = "site-1:2:4:4,site-2:2:4:4"


@pytest.fixture
def tracked(monkeypatch):
    """What would go to the server's TensorBoard."""
    seen = []
    monkeypatch.setattr(client, "_track", lambda *args: seen.append(args))
    return seen


def options(folder, *more, size=16, path=LENET, **model):
    model = model or {"num_classes": 2, "spatial_size": size}
    line = f"--classes normal pneumonia --spatial_size {size} {size} --lr 0.1 "
    line += f"--table {TABLE} --scale 1 --run_dir {folder} --model_path {path} "
    return [*line.split(), "--model_args", *format_args(model).split(), *more]


def site(folder, *more, **kwargs):
    return client.LocalTrainer(parse(options(folder, *more, **kwargs)), "site-1")


def sent(path=LENET, meta=None, **args):
    args = args or {"num_classes": 2, "spatial_size": 16}
    network = build_job_network(path, args)
    params = {name: value.numpy() for name, value in network.state_dict().items()}
    return network, FLModel(params=params, current_round=0, total_rounds=1, meta=meta or {})


def parts(result):
    """Weights, meta and metrics."""
    return result.params or {}, result.meta or {}, result.metrics or {}


def test_under_full_batch_the_update_is_the_gradient_of_all_images(tmp_path, tracked):
    network, model = sent()
    own = site(tmp_path, "--full_batch")
    params, meta, _ = parts(own.train(model))
    images, labels = own._load("training")
    loss = torch.nn.functional.cross_entropy(
        network(network_input(images, [0] * 3, [1] * 3)), labels
    )
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        expected = parameter.detach() - 0.1 * parameter.grad
        torch.testing.assert_close(torch.as_tensor(params[name]), expected)
    assert meta["NUM_STEPS_CURRENT_ROUND"] == 4
    assert {k: meta["hp"][k] for k in ("n_images", "n_steps", "batch_size")} == {
        "n_images": 4,
        "n_steps": 1,
        "batch_size": 4,
    }
    assert meta["hp"]["optimizer"] == "sgd"


def test_validation_scores_travel_with_the_update(tmp_path, tracked):
    network, model = sent()
    own = site(tmp_path)
    _, _, metrics = parts(own.train(model))
    norm = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert metrics == evaluate(network, *own._load("validation"), norm)
    assert set(metrics) == {"accuracy", "loss", "auc", "sensitivity", "specificity"}
    ((round, training, validation),) = tracked
    assert (round, set(training), validation) == (0, {"training_loss"}, metrics)


def test_fedprox_holds_the_weights_back_and_is_declared_where_it_matters(tmp_path, tracked):
    moved = {}
    for mu in (0.0, 500.0):
        network, model = sent(meta={"fedprox_mu": mu} if mu else {})
        params, meta, _ = parts(site(tmp_path, "--lr", "0.001").train(model))
        start = network.state_dict()
        moved[mu] = sum((torch.as_tensor(v) - start[n]).norm() for n, v in params.items())
        assert meta["hp"]["optimizer"] == ("sgd_fedprox" if mu else "sgd")
    # lr * mu = 1/2: the second step takes back half of the first.
    assert 0.65 * moved[0.0] < moved[500.0] < 0.85 * moved[0.0]
    # In the first step the pull is zero: one step of FedProx is one of SGD.
    one = site(tmp_path, "--full_batch").train(sent(meta={"fedprox_mu": 5.0})[1])
    assert parts(one)[1]["hp"]["optimizer"] == "sgd"


def test_a_tested_model_is_reported_with_intervals_and_without_names(tmp_path):
    _, _, metrics = parts(site(tmp_path).evaluate(sent()[1]))
    report = metrics[REPORT]
    assert metrics["test_accuracy"] == report["accuracy"]["value"]
    assert report["classes"] == ["normal", "pneumonia"]
    assert sum(map(sum, report["confusion"])) == report["n"]
    assert str(tmp_path) not in repr(metrics)


def test_masks_are_trained_on_and_judged_by_dice(tmp_path, tracked):
    args = {"num_classes": 2, "channels": [4, 8], "norm": "instance"}
    unet = {"path": "medleak.custom.networks.unet", **args}
    extra = ("--masks", "--modality", "brain_mri", "--classes", "glioma", "notumor")
    own = site(tmp_path, *extra, **unet)
    _, model = sent(**unet)
    _, _, metrics = parts(own.train(model))
    _, masks = own._load("training")
    assert masks.shape == (4, 16, 16)
    assert set(masks.unique().tolist()) == {0, 1}
    assert set(metrics) == {"dice", "loss"}
    report = parts(own.evaluate(model))[2][REPORT]
    assert report["classes"] == ["background", "foreground"]


def test_a_site_without_test_images_says_what_to_do(tmp_path):
    own = site(tmp_path)
    with pytest.raises(client.DataError, match="site-1 has no archive images: give it some"):
        own._items("archive")


def served(monkeypatch, *options):
    """What `client.main` does with one training task; the error that ends the script."""
    _, model = sent()
    for name, value in {
        "init": None,
        "get_site_name": "site-1",
        "is_running": True,
        "receive": model,
        "is_evaluate": False,
    }.items():
        monkeypatch.setattr(nvflare.client, name, lambda value=value: value)
    with pytest.raises(SystemExit) as ended:
        client.main([str(option) for option in options])
    return ended.value.code


def test_a_bad_image_is_told_to_the_log_by_its_place_alone(
    tmp_path, monkeypatch, caplog, capsys, tracked
):
    folder = tmp_path / "Doe Jane"
    folder.mkdir()
    (folder / "Doe_1970.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    entries = [{"image": str(folder / "Doe_1970.png"), "label": 0}]
    lists = tmp_path / "own.json"
    lists.write_text(json.dumps({"training": [], "validation": entries}))
    with caplog.at_level(logging.DEBUG):
        assert served(monkeypatch, *options(tmp_path / "run"), "--dataset_json", lists) == 2
    assert "site-1: validation[0]: Image '…' holds no PNG" in caplog.text
    assert "Doe" not in caplog.text
    # Its datalist, which stays at the site, has the file in this place.
    kept = json.loads((tmp_path / "run" / "datalist.json").read_text())
    assert "Doe_1970" in kept["validation"][0]["image"]


def test_a_library_that_cannot_be_imported_beforehand_is_told_with_the_task(
    tmp_path, monkeypatch, caplog, tracked
):
    def missing(*_):
        raise ImportError("no torch")

    monkeypatch.setattr(client, "uncollected", missing)
    client._import_libraries()
    monkeypatch.setattr(client.LocalTrainer, "train", missing)
    with pytest.raises(ImportError, match="no torch"):
        served(monkeypatch, *options(tmp_path))


def test_odd_images_are_told_to_the_log_by_their_places_once_a_run(tmp_path, caplog, tracked):
    folder = tmp_path / "Doe Jane"
    folder.mkdir()
    entries = []
    for k in range(7):
        pixels = np.random.default_rng(k).integers(0, 256 if k else 9, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"Doe_{k}.png")
        entries.append({"image": str(folder / f"Doe_{k}.png"), "label": k % 2})
    lists = tmp_path / "own.json"
    lists.write_text(json.dumps({"training": entries[:4], "validation": entries[4:]}))
    for _ in range(2):
        # Another process of the same run.
        site(tmp_path / "run", "--dataset_json", str(lists)).train(sent()[1])
    said = [r.getMessage() for r in caplog.records if r.name == "medleak"]
    assert len(said) == 1
    assert said[0].startswith("site-1: Of 7 images, 1 use less than a sixteenth of the range")
    assert "'training[0]'" in said[0]
    assert "Doe" not in caplog.text


def test_names_of_folders_go_to_the_sites_console_and_not_to_the_log(
    tmp_path, monkeypatch, caplog, capsys, tracked
):
    root = tmp_path / "Doe Jane"
    with caplog.at_level(logging.DEBUG):
        assert served(monkeypatch, *options(tmp_path / "run"), "--data_root", root) == 2
    (said,) = [r.getMessage() for r in caplog.records if r.name == "medleak"]
    assert said.startswith("site-1: data_root '…' does not exist")
    assert "Doe" not in caplog.text
    # NVFlare logs what a script prints, but not what it writes to its error stream.
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert str(root) in printed.err
    assert "Doe" not in printed.out


def test_an_error_of_the_system_is_logged_without_the_file_it_is_about(
    tmp_path, monkeypatch, caplog, capsys, tracked
):
    def full(*_):
        raise OSError(28, "No space left on device", "/scans/Doe_1970.png")

    monkeypatch.setattr(client, "site_lists", full)
    assert served(monkeypatch, *options(tmp_path)) == 2
    assert "OSError: No space left on device" in caplog.text
    assert "Doe" not in caplog.text
    assert "Doe_1970" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "size", "steps"), [((), 2, 2), (("--batch_size", "1"), 1, 4)])
def test_the_batch_size_is_the_row_of_the_site_unless_the_job_gives_one(
    tmp_path, tracked, given, size, steps
):
    # --batch_size is what jobs passed that were exported when each site had an app of its own.
    _, meta, _ = parts(site(tmp_path, *given).train(sent()[1]))
    assert (meta["hp"]["batch_size"], meta["hp"]["n_steps"]) == (size, steps)


def test_a_site_without_a_row_ends_before_any_image_is_read_with_what_to_do(
    tmp_path, monkeypatch, caplog, tracked
):
    monkeypatch.setattr(client, "site_lists", None)
    with caplog.at_level(logging.ERROR):
        assert served(monkeypatch, *options(tmp_path), "--table", "north:2:4:4") == 2
    assert "has no row in the table, so its batch size is not known" in caplog.text
    assert "--table name:batch_size:training:validation" in caplog.text


@pytest.mark.parametrize("more", [("--batch_size", "2"), ("--full_batch",)])
def test_a_site_with_its_own_list_needs_no_row_where_its_batches_are_known(tmp_path, tracked, more):
    site(tmp_path / "drawn")._load("training")
    lists = json.loads((tmp_path / "drawn" / "datalist.json").read_text())
    own = tmp_path / "own.json"
    own.write_text(json.dumps(lists))
    args = options(tmp_path / "run", "--dataset_json", own, "--table", "north:2:4:4", *more)
    guest = client.LocalTrainer(parse([str(arg) for arg in args]), "guest")
    _, meta, _ = parts(guest.train(sent()[1]))
    assert meta["hp"]["batch_size"] == (4 if more == ("--full_batch",) else 2)


def test_class_names_keep_their_spaces_on_the_way_to_the_script(tmp_path):
    line = ["--batch_size", "1", "--run_dir", str(tmp_path)]
    args = parse([*line, "--classes", "Viral%20Pneumonia", "100%25"])
    assert args.classes == ["Viral Pneumonia", "100%"]
