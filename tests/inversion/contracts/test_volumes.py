"""Volumes through every step of the way: made, recorded, attacked, measured, pictured, reported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets.unet import UNet
from monai.networks.nets.vit import ViT
from tests.inversion.evidence.tokens.networks import awake

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.data.transforms import load_images, network_input
from medleak.custom.phantoms import listing, render
from medleak.custom.record import (
    Criterion,
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UpdateInfo,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import audit
from medleak.inversion.losses import first_output
from medleak.inversion.report.html.page import render as render_report
from medleak.inversion.report.reading import read_audit

SIZE = (24, 16, 32)
VIT = {
    "in_channels": 1,
    "img_size": SIZE,
    "patch_size": 8,
    "hidden_size": 48,
    "mlp_dim": 48,
    "num_layers": 1,
    "num_heads": 4,
    "classification": True,
}
UNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [8, 16, 32],
    "strides": [2, 2],
    "num_res_units": 1,
    "norm": "batch",
}


def step(network, images, criterion):
    """State before and update of one step of SGD."""
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network.train()
    output = first_output(network(network_input(images, (0.3,), (0.25,))))
    target = (images[:, 0] > 0.4).long() if output.dim() > 2 else torch.ones(len(images)).long()
    torch.nn.functional.cross_entropy(output, target).backward()
    torch.optim.SGD(network.parameters(), lr=0.05).step()
    update = {k: (v - before[k]).numpy() for k, v in network.state_dict().items()}
    return {k: v.numpy() for k, v in before.items()}, update


@pytest.fixture
def run(tmp_path):
    """A record of one site with one volume, and the site's list."""

    def make(network, path: str, args: dict, criterion: Criterion) -> Path:
        root = render(items := listing(1, 3, "torso_ct"), tmp_path / "images", SIZE, 3, "torso_ct")
        kept = [Item(str(root / item.image), item.label, item.patient) for item in items]
        save_datalist(tmp_path / "truth" / "site-1.json", {"training": kept})
        images, _ = load_images(kept, spatial_size=SIZE)
        manifest = Manifest(
            job="volumes",
            created=utc_now(),
            model=ModelSpec(path=path, args=args),
            task=TaskSpec(num_classes=2, criterion=criterion),
            input=InputSpec(spatial_size=SIZE, channels=1, mean=(0.3,), std=(0.25,)),
        )
        write_manifest(tmp_path / "records", manifest)
        schedule = {"n_images": 1, "n_steps": 1, "batch_size": 1, "local_epochs": 1, "lr": 0.05}
        info = UpdateInfo(round=0, site="site-1", time=utc_now(), **schedule)
        write_record(tmp_path / "records", info, *step(network, images, criterion))
        return tmp_path

    return make


def audited(root: Path, **options):
    plan = Plan(
        records=root / "records",
        out=root / "audit",
        truth=root / "truth",
        prior="gray",
        **options,
    )
    return list(audit(plan, health="attacks" not in options))


def summary_of(root: Path):
    return json.loads((root / "audit" / "summary.json").read_text())


def test_a_volume_of_a_transformer_is_audited_from_phantom_to_report(run):
    torch.manual_seed(0)
    root = run(awake(ViT(**VIT)).train(), "monai.networks.nets.ViT", VIT, "cross_entropy")
    (outcome,) = audited(root)

    assert outcome.refused is None
    (row,) = outcome.rows
    assert row.ssim is not None
    assert row.ssim > 0.9
    assert row.ssim_prior is not None
    assert row.ssim_prior < 0.8
    assert not row.stuck
    assert "not of volumes" in (row.embedding or "")
    (site,) = summary_of(root)["sites"]
    assert site["verdict"].startswith("leaks")
    health = summary_of(root)["health"]
    assert [found["reached"] for found in health.values() if isinstance(found, dict)] == [True]
    kept = {path.name for path in (root / "audit" / "images").iterdir()}
    assert sum(name.endswith("_planes.png") for name in kept) == 3
    report = render_report([read_audit(root / "audit")], originals="hidden")
    assert b"slide-plane" in report.html
    assert report.verdicts[0].light.name == "LEAKS"


def test_a_volume_of_a_network_of_convolutions_is_attacked_by_its_statistics(run):
    torch.manual_seed(0)
    network = UNet(**UNET)
    root = run(network, "monai.networks.nets.UNet", UNET, "segmentation_cross_entropy")
    (outcome,) = audited(root, attacks=["row_space:seconds=8"])

    assert outcome.refused is None
    (row,) = outcome.rows
    assert row.ssim is not None
    assert row.ssim_prior is not None
    assert row.ssim > row.ssim_prior + 0.05


@pytest.mark.parametrize("attack", ["inverting_gradients", "dlg", "epochwise_bn"])
def test_other_attacks_look_for_volumes_or_say_that_they_do_not(run, attack):
    torch.manual_seed(0)
    root = run(awake(ViT(**VIT)).train(), "monai.networks.nets.ViT", VIT, "cross_entropy")
    (outcome,) = audited(root, attacks=[f"{attack}:seconds=2"])

    if outcome.refused is None:
        assert np.isfinite([row.ssim or 0.0 for row in outcome.rows]).all()
    else:
        assert "\n" not in outcome.refused
        assert outcome.refused.endswith(".")
