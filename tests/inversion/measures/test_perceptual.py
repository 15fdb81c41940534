"""Tests of medleak.inversion.measures.perceptual; distances need the extra, refusals do not."""

import sys
import types
import warnings

import pytest
import torch
from torch import nn
from torchvision.models import alexnet

from medleak.inversion.measures.perceptual import (
    MIN_SIDE_PX,
    Perceptual,
    PerceptualError,
    load_perceptual,
)


@pytest.fixture(scope="session")
def trunk(tmp_path_factory):
    """AlexNet of random weights, under torchvision's names."""
    path = tmp_path_factory.mktemp("trunk") / "alexnet.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = alexnet(weights=None).state_dict()
    torch.save({k: v for k, v in state.items() if k.startswith("features")}, path)
    return path


@pytest.fixture
def installed(monkeypatch):
    """A package that is there; trunks are refused before anything of it is called."""
    if "lpips" not in sys.modules:
        monkeypatch.setitem(sys.modules, "lpips", types.ModuleType("lpips"))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(PerceptualError, match=r"medleak\[lpips\]"):
        load_perceptual()


def test_a_trunk_is_never_downloaded(installed, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("network"))
    with pytest.raises(PerceptualError, match="not in torch's cache"):
        load_perceptual()


def test_a_trunk_that_cannot_be_read_is_refused(installed, tmp_path):
    with pytest.raises(PerceptualError, match="cannot be read"):
        load_perceptual(tmp_path / "none.pth")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(PerceptualError, match="more than tensors"):
        load_perceptual(tmp_path / "junk.pth")


def test_distances_are_lpips_own(trunk):
    lpips = pytest.importorskip("lpips", reason="the extra medleak[lpips] is not installed")
    measure = load_perceptual(trunk)
    a, b = torch.rand(3, 3, 64, 64), torch.rand(3, 3, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own old spelling of torchvision's arguments
        reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    state = torch.load(trunk, weights_only=True)
    for name, value in reference.net.state_dict().items():
        value.copy_(state[f"features.{name.partition('.')[2]}"])
    with torch.no_grad():
        expected = reference(a, b, normalize=True).flatten().double()
    torch.testing.assert_close(measure(a, b), expected)
    assert (measure(a, a) == 0).all()
    gray = a[:, :1]
    torch.testing.assert_close(measure(gray, gray.flip(0)), measure(gray.expand(-1, 3, -1, -1),
                               gray.flip(0).expand(-1, 3, -1, -1)))  # fmt: skip


def test_another_network_is_no_trunk(trunk, tmp_path):
    pytest.importorskip("lpips", reason="the extra medleak[lpips] is not installed")
    state = torch.load(trunk, weights_only=True)
    state["features.3.weight"] = state["features.3.weight"][:, :5]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(PerceptualError, match=r"'features\.3\.weight' is missing or has another"):
        load_perceptual(tmp_path / "other.pth")


class Mean(nn.Module):
    """In place of LPIPS: the mean difference of what it is given."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, a, b):
        return self.scale * (a - b).mean((1, 2, 3), keepdim=True)


def test_images_reach_the_network_as_three_channels_in_minus_one_to_one():
    seen = []
    network = Mean()
    network.register_forward_hook(lambda _, given, __: seen.extend(given))
    found = Perceptual("stub", network)(torch.full((2, 1, 32, 40), 0.75), torch.zeros(2, 1, 32, 40))
    assert seen[0].shape == (2, 3, 32, 40)
    assert (seen[0].unique().tolist(), seen[1].unique().tolist()) == ([0.5], [-1.0])
    assert found.tolist() == [1.5, 1.5]


@pytest.mark.parametrize(
    ("a", "b"), [((1, 1, 31, 64), (1, 1, 31, 64)), ((1, 1, 64, 64), (2, 1, 64, 64))]
)
def test_images_that_it_cannot_compare_are_refused(a, b):
    assert MIN_SIDE_PX == 32
    with pytest.raises(ValueError, match="LPIPS compares"):
        Perceptual("stub", Mean())(torch.zeros(a), torch.zeros(b))
