"""Tests of medleak.custom.networks."""

import pickle
import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medleak.custom.networks import (
    WeightsError,
    initial_resnet18,
    initial_resnet18_groupnorm,
    load_weights,
    resnet18,
    resnet18_groupnorm,
)


def equal(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_the_seed_decides_the_random_weights_and_nothing_else_moves():
    state = torch.random.get_rng_state()
    a, b, c = resnet18(seed=1), resnet18(seed=1), resnet18(seed=2)
    assert equal(a.state_dict(), b.state_dict())
    assert not equal(a.state_dict(), c.state_dict())
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("size", [64, 224])
def test_small_and_large_images_pass(size):
    assert resnet18(num_classes=3).eval()(torch.zeros(2, 3, size, size)).shape == (2, 3)


@pytest.fixture
def other():
    return {k: v.clone() for k, v in resnet18(num_classes=13, seed=5).state_dict().items()}


def test_a_file_in_torchvisions_names_gives_the_body_and_keeps_our_head(tmp_path, other):
    theirs = {k.removeprefix("features."): v.contiguous() for k, v in other.items()}
    save_file(theirs, tmp_path / "w.safetensors")
    loaded = initial_resnet18(2, str(tmp_path / "w.safetensors"), seed=1).state_dict()
    assert torch.equal(loaded["features.conv1.weight"], other["features.conv1.weight"])
    assert torch.equal(loaded["fc.weight"], resnet18(2, seed=1).state_dict()["fc.weight"])


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}])
def test_a_torch_file_of_our_own_names_gives_everything(tmp_path, wrap):
    own = resnet18(2, seed=5).state_dict()
    torch.save(wrap(own), tmp_path / "w.pt")
    loaded = initial_resnet18(2, str(tmp_path / "w.pt"), seed=1).state_dict()
    assert equal(loaded, own)


def test_auto_takes_the_variable_or_random_weights(tmp_path, monkeypatch, other):
    monkeypatch.delenv("MEDLEAK_WEIGHTS", raising=False)
    assert equal(initial_resnet18(seed=4).state_dict(), resnet18(seed=4).state_dict())
    save_file(other, tmp_path / "w.safetensors")
    monkeypatch.setenv("MEDLEAK_WEIGHTS", str(tmp_path / "w.safetensors"))
    loaded = initial_resnet18(seed=4).state_dict()
    assert torch.equal(loaded["features.conv1.weight"], other["features.conv1.weight"])


def test_weights_of_another_network_are_refused_by_name(other):
    del other["features.layer1.0.conv1.weight"]
    with pytest.raises(WeightsError, match=r"'features\.layer1\.0\.conv1\.weight' is missing"):
        load_weights(resnet18(), other)
    other["features.layer1.0.conv1.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"has shape \(1,\), needed \(64, 64, 3, 3\)"):
        load_weights(resnet18(), other)


class Bomb:
    def __reduce__(self):
        return (print, ("this pickle ran",))


def test_a_pickle_that_runs_code_is_refused_without_running_it(tmp_path, capsys):
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(WeightsError, match=r"w\.pt"):
        initial_resnet18(weights=str(tmp_path / "w.pt"))
    torch.save({"state_dict": Bomb()}, tmp_path / "z.pt")
    with pytest.raises(WeightsError, match="could run code"):
        initial_resnet18(weights=str(tmp_path / "z.pt"))
    assert "this pickle ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_missing_or_damaged_file_is_one_line(tmp_path, name):
    with pytest.raises(WeightsError, match="do not exist"):
        initial_resnet18(weights=str(tmp_path / name))
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
        initial_resnet18(weights=str(tmp_path / name))


def test_a_list_is_no_state_dict(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state_dict"):
        initial_resnet18(weights=str(tmp_path / "w.pt"))


def test_imagenet_weights_without_a_network_say_what_to_do(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(
        WeightsError, match=r"cannot be downloaded .* name the file in MEDLEAK_WEIGHTS"
    ):
        initial_resnet18(weights="imagenet")


def test_group_norm_takes_the_place_of_batch_norm_and_nothing_else_changes():
    batch, group = resnet18(3, seed=1), resnet18_groupnorm(3, seed=1)
    assert not list(group.buffers())
    assert not [m for m in group.modules() if isinstance(m, nn.BatchNorm2d)]
    parameters = dict(group.named_parameters())
    assert list(parameters) == [name for name, _ in batch.named_parameters()]
    assert equal(parameters, batch.state_dict())
    groups = {m.num_channels: m.num_groups for m in group.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {64: 32, 128: 32, 256: 32, 512: 32}
    assert group(torch.zeros(1, 3, 33, 33)).shape == (1, 3)


def test_with_group_norm_an_image_is_judged_alone():
    net = resnet18_groupnorm().train()
    images = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(images)[:1], net(images[:1]), rtol=1e-3, atol=1e-5)


def test_batch_norm_weights_from_a_file_are_converted_to_group_norm(tmp_path, other):
    other["features.layer1.0.bn1.weight"] += 0.5
    save_file(other, tmp_path / "w.safetensors")
    loaded = initial_resnet18_groupnorm(2, str(tmp_path / "w.safetensors"), seed=1)
    state = loaded.state_dict()
    bodies = {n: v for n, v in state.items() if not n.startswith("fc.")}
    assert equal(bodies, other)
    assert torch.equal(state["fc.weight"], resnet18(2, seed=1).state_dict()["fc.weight"])
