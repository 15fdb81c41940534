"""Tests of the way in for somebody with a PyTorch model and a gradient."""

import doctest

import pytest
import torch

from medleak.custom.networks import resnet18
from medleak.inversion.attacks import reconstruct as module
from medleak.inversion.attacks.reconstruct import observe_update, reconstruct
from medleak.inversion.attacks.row_space import RowSpace
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import ssim


@pytest.fixture
def stepped(smooth_images):
    """A network, an image, and the update that one step on it makes, statistics included."""
    torch.manual_seed(0)
    model, truth = resnet18(num_classes=2).train(), smooth_images(1, size=64)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    logits = model(truth.expand(-1, 3, -1, -1))
    torch.nn.functional.cross_entropy(logits, torch.tensor([1])).backward()
    optimizer.step()
    update = {n: t - before[n] for n, t in model.state_dict().items()}
    model.load_state_dict(before)
    return model, truth, update


def test_the_docstring_does_what_it_says():
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_an_image_comes_back_from_a_model_and_an_update(stepped):
    model, truth, update = stepped
    before = {n: t.clone() for n, t in model.state_dict().items()}
    found = reconstruct(
        model, update, spatial_size=(64, 64), lr=0.01, attack=RowSpace(seconds=8, attempts=1)
    )
    assert found.labels is not None
    assert found.labels.tolist() == [1]
    flat = torch.full_like(truth, float(truth.mean()))
    assert float(ssim(truth, found.images)) > float(ssim(truth, flat)) + 0.3
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_a_gradient_without_statistics_is_an_update_without_them(stepped):
    model, _, update = stepped
    weights = {n: update[n] for n, _ in model.named_parameters()}
    assert not observe_update(model, weights, spatial_size=(64, 64)).has_bn_statistics
    assert observe_update(model, update, spatial_size=(64, 64)).has_bn_statistics
    blind = Knowledge(bn_statistics=False)
    observed = observe_update(model, update, spatial_size=(64, 64), knowledge=blind)
    assert not observed.has_bn_statistics


def test_a_missing_parameter_is_refused_by_name(stepped):
    model, _, update = stepped
    del update["fc.weight"]
    with pytest.raises(ValueError, match=r"lacks or misshapes 1 parameters, first 'fc\.weight'"):
        reconstruct(model, update, spatial_size=(64, 64))
