"""The MONAI bundles of custom/bundles hold by MONAI's own checks, and train as the jobs' client."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle.scripts import verify_metadata, verify_net_in_out
from monai.bundle.workflows import ConfigWorkflow
from monai.fl.client.monai_algo import MonaiAlgo
from monai.fl.utils.exchange_object import ExchangeObject
from tests.places import ROOT

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD, load_images
from medleak.custom.networks import resnet18
from medleak.custom.phantoms import listing, render
from medleak.custom.record import read_record
from medleak.custom.training.sgd import LocalSGD, Normalisation, train

pytestmark = pytest.mark.slow

BUNDLES = {"xray": ("cxr", 1), "fundus": ("fundus", 3)}
"""Folder: kind of phantoms, and channels of an image."""
IMAGES = 4
MANDATORY = (
    *("version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
    *("schema", "task", "description", "authors", "copyright", "network_data_format"),
)
"""Keys that the published schema (meta_schema_20240725.json) asks of metadata.json."""


def configs(bundle: str) -> Path:
    return ROOT / "custom" / "bundles" / bundle / "configs"


def site(folder: Path, bundle: str) -> list[Item]:
    """A datalist of phantoms in ``folder``; the items of its training section."""
    modality, _ = BUNDLES[bundle]
    items = listing(3 * IMAGES, seed=0, modality=modality)
    at = render(items, folder / "images", (64, 64), seed=0, modality=modality)
    found = [Item(str(at / i.image), i.label, i.patient) for i in items]
    parts = {n: found[k::3] for k, n in enumerate(("training", "validation", "test"))}
    save_datalist(folder / "datalist.json", parts)
    return parts["training"]


def workflow(bundle: str, kind: str, folder: Path, **changes: Any) -> ConfigWorkflow:
    return ConfigWorkflow(
        workflow_type=kind,
        config_file=str(configs(bundle) / ("train.json" if kind == "train" else "inference.json")),
        meta_file=str(configs(bundle) / "metadata.json"),
        logging_file=False,
        bundle_root=str(folder),
        dataset_dir=str(folder),
        device="$torch.device('cpu')",
        **changes,
    )


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("config", ["train", "inference"])
def test_monai_finds_the_network_to_take_and_give_what_the_metadata_says(bundle, config, tmp_path):
    def verify(meta: Path) -> None:
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(meta),
            config_file=str(configs(bundle) / f"{config}.json"),
            device="cpu",
        )

    meta = configs(bundle) / "metadata.json"
    verify(meta)
    false = json.loads(meta.read_text())
    false["network_data_format"]["outputs"]["pred"]["num_channels"] += 1
    (tmp_path / "metadata.json").write_text(json.dumps(false))
    with pytest.raises(ValueError, match="channel"):
        verify(tmp_path / "metadata.json")


def fits(bundle: str, schema: Path, *required: str) -> None:
    """MONAI's check against a schema that is a file already: nothing is downloaded."""
    schema.write_text(json.dumps({"type": "object", "required": required}))
    verify_metadata(
        meta_file=str(configs(bundle) / "metadata.json"),
        filepath=str(schema),
        hash_val=hashlib.sha256(schema.read_bytes()).hexdigest(),
        hash_type="sha256",
    )


@pytest.mark.parametrize("bundle", BUNDLES)
def test_monai_finds_the_metadata_to_fit_a_schema_that_is_there(bundle, tmp_path):
    fits(bundle, tmp_path / "schema.json", *MANDATORY)
    with pytest.raises(ValueError, match="Failed validating"):
        fits(bundle, tmp_path / "schema.json", *MANDATORY, "no such key")


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_bundle_trains_a_site_to_the_update_of_the_jobs_client_and_predicts(bundle, tmp_path):
    items = site(tmp_path, bundle)
    training = workflow(bundle, "train", tmp_path, batch_size=IMAGES)
    training.initialize()
    assert training.check_properties() == []
    training.run()
    found = training.trainer.network.state_dict()

    network = resnet18()
    images, labels = load_images(items, spatial_size=(64, 64), channels=BUNDLES[bundle][1])
    schedule = LocalSGD(batch_size=IMAGES)
    norm = Normalisation(IMAGENET_MEAN, IMAGENET_STD)
    train(network, images, labels, schedule, norm, torch.Generator().manual_seed(0))
    before = resnet18().state_dict()
    for name, value in network.state_dict().items():
        moved, wanted = found[name] - before[name], value - before[name]
        torch.testing.assert_close(moved, wanted, rtol=1e-3, atol=1e-6)

    predicting = workflow(bundle, "inference", tmp_path)
    predicting.initialize()
    assert predicting.check_properties() == []
    predicting.run()
    lines = (tmp_path / "eval" / "predictions.csv").read_text().split()
    assert [line.split(",")[0] for line in lines] == [f"test[{k}]" for k in range(IMAGES)]


def test_the_example_of_the_page_records_what_a_round_of_a_bundle_sends(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "how-to" / "bundle.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "custom").symlink_to(ROOT / "custom")
    site(tmp_path / "site-1", "xray")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "bundle.md", "exec"), {"__name__": "page"})
    found = read_record(tmp_path / "site-1" / "records", 0, "site-1")
    info = found.info
    assert (info.n_images, info.n_steps, info.batch_size) == (IMAGES, 1, 4)
    assert (info.optimizer, info.lr) == ("sgd", 0.01)
    assert set(found.update) == set(resnet18().state_dict())


def test_monais_federated_client_trains_and_evaluates_a_bundle(tmp_path):
    root = tmp_path / "xray"
    shutil.copytree(configs("xray"), root / "configs")
    site(root / "data", "xray")
    client = MonaiAlgo(bundle_root=str(root), config_evaluate_filename="configs/train.json")
    with pytest.warns(UserWarning, match="config"):  # it executes what a server may have sent
        client.initialize({"CLIENT_NAME": "site-1"})
    sent = resnet18().state_dict()
    client.train(ExchangeObject(weights=sent))
    update = client.get_weights()
    assert update.weight_type == "fl_weight_diff"
    moved = update.weights or {}
    assert set(moved) == set(sent)
    assert any(value.any() for value in moved.values())
    assert list(client.evaluate(ExchangeObject(weights=sent)).metrics or {}) == ["val_accuracy"]
