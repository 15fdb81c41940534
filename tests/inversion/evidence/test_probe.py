"""Tests of medleak.inversion.evidence.probe and medleak.inversion.evidence.layers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from medleak.inversion.evidence.layers import survey
from medleak.inversion.evidence.probe import Probe

MEAN, STD = (0.48, 0.45, 0.40), (0.22, 0.23, 0.25)


class Small(nn.Module):
    """Conv, norm, residual block with an in-place ReLU, dropout, head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.entrance = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(4, affine=False)
        self.outer = nn.Conv2d(4, 5, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.9)
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.entrance(x)))
        x = self.relu(self.norm2(self.inner(x)) + x)
        return self.fc(self.dropout(self.outer(x).mean((2, 3))))


class Greedy(Small):
    """Reads its input outside of any module too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.mean((1, 2, 3))[:, None]


def probe(network: nn.Module, channels: int = 1) -> Probe:
    return Probe(network, mean=MEAN, std=STD, image_shape=(channels, 12, 10))


def plain(network: Small, images: Tensor) -> dict[str, Tensor]:
    """Inputs of the layers and the output, computed without the probe."""
    mean, std = torch.tensor([MEAN, STD])[..., None, None]
    x = (images.expand(-1, 3, -1, -1) - mean) / std
    a = network.entrance(x)
    h = functional.relu(
        functional.batch_norm(a, None, None, network.norm1.weight, network.norm1.bias, True)
    )
    b = network.inner(h)
    z = functional.relu(functional.batch_norm(b, None, None, training=True) + h)
    out = network.fc(network.outer(z).mean((2, 3)))
    return {"norm1": a, "inner": h, "norm2": b, "outer": z, "output": out}


@pytest.mark.parametrize("channels", [1, 3])
def test_it_shows_what_the_network_computes_with_normalisation_folded_in(channels):
    network, images = Small(), torch.rand(2, channels, 12, 10)
    expected = plain(network, images)
    trace = probe(network, channels).run(
        images, statistics=["norm1", "norm2"], inputs=["inner", "outer"], output=True
    )
    for name in ("inner", "outer"):
        torch.testing.assert_close(trace.inputs[name], expected[name], rtol=1e-4, atol=1e-5)
    for name in ("norm1", "norm2"):
        var, mean = torch.var_mean(expected[name], (0, 2, 3), unbiased=True)
        torch.testing.assert_close(trace.statistics[name][0], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(trace.statistics[name][1], var, rtol=1e-4, atol=1e-5)
    assert trace.output is not None
    torch.testing.assert_close(trace.output, expected["output"], rtol=1e-4, atol=1e-5)


def test_an_input_that_is_read_elsewhere_too_is_not_folded():
    network, images = Greedy(), torch.rand(2, 1, 12, 10)
    mean, std = torch.tensor([MEAN, STD])[..., None, None]
    extra = ((images.expand(-1, 3, -1, -1) - mean) / std).mean((1, 2, 3))[:, None]
    found = probe(network).run(images, output=True).output
    assert found is not None
    torch.testing.assert_close(
        found, plain(network, images)["output"] + extra, rtol=1e-4, atol=1e-5
    )


def test_the_pass_ends_with_the_last_layer_asked_for(monkeypatch):
    seen = probe(Small())
    monkeypatch.setattr(nn.Linear, "forward", lambda *_: pytest.fail("ran too far"))
    trace = seen.run(torch.rand(1, 1, 12, 10), statistics=["norm1"], inputs=["outer"])
    assert trace.output is None
    assert set(trace.inputs) == {"outer"}
    assert set(trace.statistics) == {"norm1"}


def test_gradients_reach_the_images():
    images = torch.rand(1, 1, 12, 10, requires_grad=True)
    trace = probe(Small()).run(images, statistics=["norm2"])
    (gradient,) = torch.autograd.grad(trace.statistics["norm2"][1].sum(), images)
    assert gradient.abs().sum() > 0


def test_the_network_is_left_as_it_was():
    network = Small().eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    probe(network).run(torch.rand(2, 1, 12, 10), output=True)
    assert not network.training
    assert network.relu.inplace
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert not network.inner._forward_pre_hooks
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_two_passes_do_not_mix():
    seen, images = probe(Small()), torch.rand(2, 1, 12, 10)
    first = seen.run(images[:1], statistics=["norm1"])
    kept = first.statistics["norm1"][0].clone()
    seen.run(images[1:], statistics=["norm1", "norm2"])
    assert torch.equal(first.statistics["norm1"][0], kept)
    assert "norm2" not in first.statistics


@pytest.mark.parametrize(
    ("wanted", "message"), [(["nowhere"], "nowhere"), ([], "Nothing to report")]
)
def test_asking_for_nothing_or_for_a_layer_that_is_not_there_is_an_error(wanted, message):
    with pytest.raises(ValueError, match=message):
        probe(Small()).run(torch.rand(1, 1, 12, 10), statistics=wanted)


def test_the_survey_reads_geometry_and_who_is_followed_by_a_norm():
    found = survey(Small(), torch.rand(2, 3, 12, 10))
    layers = {c.name: c for c in found.convs}
    assert list(layers) == ["entrance", "inner", "outer"]
    assert found.norms == ("norm1", "norm2")
    assert found.entrance == "entrance"
    assert [layers[n].normed for n in layers] == [True, True, False]
    assert layers["inner"].positions == 6 * 5
    assert layers["inner"].patch_size == 4 * 9
    assert layers["outer"].norms_before == ("norm1", "norm2")


def test_layers_that_run_twice_or_are_circular_are_left_out():
    shared = nn.Conv2d(3, 3, 1)
    network = nn.Sequential(
        shared,
        shared,
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"),
    )
    assert survey(network, torch.rand(1, 3, 4, 4)).convs == ()
