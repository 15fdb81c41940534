"""Known answers of medleak.inversion.evidence.one_round: at the true images every loss is zero."""

import pytest
import torch
from monai.networks.nets.unet import UNet
from tests.inversion.evidence.rounds import client, compare, smooth, trained_once
from torchvision.models.swin_transformer import SwinTransformer

from medleak.inversion.evidence.inspection import inspect_update
from medleak.inversion.evidence.one_round import closed_form, read_evidence


def test_a_batch_leaves_row_spaces_only_where_it_fits():
    truth = smooth(2)
    evidence = read_evidence(client(truth, torch.tensor([1, 0])))
    assert evidence.spans
    assert all("layer4" in n for n in evidence.spans)
    found = compare(evidence, truth)
    assert found.statistics.item() == pytest.approx(0, abs=1e-4)
    assert found.span.item() == pytest.approx(0, abs=1e-4)
    swapped = compare(evidence, truth.flip(0))
    assert swapped.span.item() == pytest.approx(0, abs=1e-4)


def test_without_statistics_the_row_spaces_remain():
    evidence = read_evidence(client(smooth(1), torch.tensor([1]), statistics=False))
    assert evidence.norms == ()
    assert evidence.spans
    assert compare(evidence, smooth(1)).statistics.item() == 0


def test_the_way_up_of_a_u_net_tells_by_its_transposed_convolution():
    torch.manual_seed(0)
    sizes = {"channels": (16, 32, 64), "strides": (2, 2), "num_res_units": 1}
    network = UNet(spatial_dims=2, in_channels=3, out_channels=2, **sizes)
    truth = smooth(1)
    evidence = read_evidence(trained_once(network, truth, (truth[:, 0] > 0.5).long()))
    kinds = {n: s.conv.kind for n, s in evidence.spans.items()}
    assert kinds == {
        "model.1.submodule.1.submodule.conv.unit0.conv": "conv",
        "model.1.submodule.2.0.conv": "transposed",
    }
    assert compare(evidence, truth).span.item() == pytest.approx(0, abs=1e-5)
    assert compare(evidence, truth.flip(3)).span.item() > 0.01


def test_a_swin_transformer_tells_tokens_and_no_image_by_itself():
    torch.manual_seed(0)
    sizes = {"patch_size": [4, 4], "window_size": [4, 4], "stochastic_depth_prob": 0.0}
    network = SwinTransformer(
        embed_dim=24, depths=[1, 1, 1], num_heads=[2, 4, 8], num_classes=2, **sizes
    )
    truth, observation = smooth(1), trained_once(network, smooth(1), torch.tensor([1]))
    found = inspect_update(observation)
    assert found.verdict == "yes"
    (why,) = [t.words for t in found.told if t.source == "patch_embedding"]
    assert "no position embedding of their own" in why
    assert closed_form(observation) is None
    evidence = read_evidence(observation)
    kinds = {s.conv.kind for s in evidence.spans.values()}
    assert kinds == {"linear"}
    assert {"features.2.reduction", "features.3.0.mlp.3"} <= evidence.spans.keys()
    assert compare(evidence, truth).span.item() == pytest.approx(0, abs=1e-5)
    assert compare(evidence, truth.flip(3)).span.item() > 0.01
