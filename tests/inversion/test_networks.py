"""Tests of medleak.inversion.networks: a record may come from a stranger."""

import sys

import pytest
import torch
from torch import nn

from medleak.inversion.networks import (
    build_network,
    layout_of,
    load_global_state,
    make_importable,
    own_code,
)

RESNET = "torchvision.models.resnet18"


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "torch.hub.load",
        "monai.bundle.download",
        "medleak.custom.record.write_manifest",
        "torchvision.modelsx.resnet18",
        "torchvision.models._utils.IntermediateLayerGetter",
        "torchvision.models..resnet18",
        "monai.networks.nets.resnet.get_pretrained_resnet_medicalnet",
        "monai.networks.nets.get_pretrained_resnet_medicalnet",
        "monai.networks.nets.resnet.get_medicalnet_pretrained_resnet_args",
        "torchvision.models.get_model",
        "torchvision.models.get_weight",
        "torchvision.models.list_models",
    ],
)
def test_a_model_outside_the_allowed_prefixes_is_not_even_imported(path):
    with pytest.raises(ValueError, match="outside"):
        build_network(path, {})


@pytest.mark.parametrize(
    "path",
    [
        "torchvision.models.resnet.load_state_dict_from_url",  # re-exported from elsewhere
        "torchvision.models.resnet.nn",
        "torchvision.models.resnet.ResNet18_Weights",
        "monai.networks.nets.torchvision_fc.Any",
    ],
)
def test_what_is_no_network_of_the_allowed_module_is_not_called(path):
    with pytest.raises(ValueError, match=r"is not called|cannot be imported"):
        build_network(path, {})


def test_a_granted_prefix_opens_what_was_closed():
    with pytest.raises(ValueError, match="grant its prefix"):
        build_network("torch.nn.Identity", {})
    assert isinstance(
        build_network("torch.nn.Identity", {}, allowed_prefixes=("torch.nn.",)), nn.Identity
    )


UNET = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": [4, 8], "strides": [2]}


@pytest.mark.parametrize(
    ("path", "args"),
    [
        ("torchvision.models.resnet18", {}),
        ("torchvision.models.resnet.resnet18", {}),
        ("monai.networks.nets.UNet", UNET),
        ("monai.networks.nets.resnet18", {"spatial_dims": 2, "num_classes": 2}),
    ],
)
def test_classes_and_plain_builders_of_the_libraries_are_called(path, args):
    assert isinstance(build_network(path, args), nn.Module)


@pytest.mark.parametrize("args", [{"weights": "DEFAULT"}, {}])
def test_weights_are_never_fetched(args, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a download was tried")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    assert isinstance(build_network(RESNET, args), nn.Module)


def test_the_random_state_does_not_move():
    before = torch.get_rng_state()
    build_network(RESNET, {"num_classes": 2})
    assert torch.equal(before, torch.get_rng_state())


def test_refused_arguments_are_named():
    with pytest.raises(ValueError, match=r"refused its arguments .*colour"):
        build_network(RESNET, {"colour": 3})


def test_running_statistics_may_be_missing_and_nothing_else():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    state = {k: v + 1 for k, v in network.state_dict().items()}
    without = {k: v for k, v in state.items() if "running" not in k}
    load_global_state(network, without)
    assert torch.equal(network.state_dict()["0.weight"], state["0.weight"])
    message = r"6 of the network's 7 tensors, and not '1\.weight'.*--base"
    with pytest.raises(ValueError, match=message):
        load_global_state(network, {k: v for k, v in state.items() if k != "1.weight"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": torch.zeros(3, 1, 1, 1)}, "misshapes 1 tensors, first '0.weight'"),
        ({"9.weight": torch.zeros(1)}, "has unknown 1 tensors, first '9.weight'"),
    ],
)
def test_the_state_of_another_model_is_refused_by_name(change, message):
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    with pytest.raises(ValueError, match=message):
        load_global_state(network, {**network.state_dict(), **change})


class Viewing(torch.nn.Module):
    def __init__(self, dimensions):
        super().__init__()
        conv = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dimensions]
        self.conv = torch.nn.Sequential(conv(3, 4, 3), conv(4, 4, 3))

    def forward(self, x):
        x = self.conv(x)
        return x.view(x.size(0), -1)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_network_that_views_its_features_gets_the_layout_that_it_takes(dimensions):
    example = torch.rand(2, 3, *[8] * dimensions)
    viewing = Viewing(dimensions)
    assert layout_of(viewing, example) == torch.contiguous_format
    fast = {2: torch.channels_last, 3: torch.channels_last_3d}[dimensions]
    assert layout_of(viewing.conv, example) == fast
    assert next(
        viewing.parameters()
    ).is_contiguous()  # the network that was asked about is as before


def test_a_jobs_own_code_is_found_beside_the_record_and_only_what_was_allowed(
    tmp_path, monkeypatch
):
    records = tmp_path / "records"
    own = tmp_path / "app_server" / "custom"
    own.mkdir(parents=True)
    (own / "its_model.py").write_text("from torch import nn\nclass Net(nn.Linear): ...\n")
    assert own_code(records, ()) is None
    assert own_code(records, ("other.",)) is None
    assert own_code(records, ("its_model.Net",)) == own
    monkeypatch.setattr("sys.path", [*sys.path])
    before = [*sys.path]
    make_importable(records, ("other.",))
    assert sys.path == before
    make_importable(records, ("its_model.",))
    make_importable(records, ("its_model.",))
    assert sys.path == [*before, str(own)]  # last, so that nothing installed is replaced
    args = {"in_features": 2, "out_features": 1}
    with pytest.raises(ValueError, match=r"--allow-model its_model\.Net$"):
        build_network("its_model.Net", args)
    assert "its_model" not in sys.modules
    build_network("its_model.Net", args, allowed_prefixes=("its_model.Net",))
    sys.modules.pop("its_model")


def test_a_network_whose_packages_are_missing_says_which(monkeypatch):
    def missing(*_, **__):
        raise ImportError("from einops import Rearrange (No module named 'einops').\nMore words.")

    monkeypatch.setattr("monai.networks.nets.ViT.__init__", missing)
    with pytest.raises(ValueError, match=r"No module named 'einops'.*medleak\[transformers\]"):
        build_network("monai.networks.nets.ViT", {})
