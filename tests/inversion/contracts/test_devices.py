"""A GPU comes to what a CPU comes to."""

from dataclasses import replace

import pytest
import torch

from medleak.custom.record import ModelSpec
from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.attacks.row_space.recipes import all_evidence, by_rows, sharp
from medleak.inversion.attacks.row_space.stages import Matching
from medleak.inversion.descent.device import captured, full_precision
from medleak.inversion.evidence.one_round import read_evidence
from medleak.inversion.evidence.several_rounds import join

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
NETWORK = ModelSpec(path="medleak.custom.networks.resnet18", args={"num_classes": 2})


@gpu
@pytest.mark.parametrize(
    "stage",
    [all_evidence(1), sharp(100), replace(by_rows(1), spans="first")],
    ids=["wide", "sharp", "rows"],
)
def test_losses_and_gradients_of_a_gpu_are_those_of_a_cpu(stage, observed, smooth_images):
    truth = smooth_images(size=64)
    found = {}
    for device in ("cpu", "cuda"):
        observation = observed(truth, torch.tensor([1]), NETWORK, device=device)
        matching = Matching(join([read_evidence(observation)]), stage)
        images = (0.9 * truth + 0.05).to(device).requires_grad_()

        def evaluation(images=images, matching=matching):
            loss = matching.loss(images, 0.0)
            return loss.detach(), torch.autograd.grad(loss, images)[0]

        with full_precision():
            found[device] = [v.cpu() for v in captured(evaluation, images.device)()]
    loss, gradient = found["cpu"]
    assert found["cuda"][0].item() == pytest.approx(loss.item(), rel=1e-3)
    assert (found["cuda"][1] - gradient).norm() < 1e-3 * gradient.norm()


@gpu
def test_one_seed_gives_one_image_on_both(observed, smooth_images):
    truth = smooth_images(size=64)
    prior = torch.nn.functional.avg_pool2d(truth, 9, 1, 4)
    images = []
    for device in ("cpu", "cuda", "cuda"):
        observation = observed(truth, torch.tensor([1]), NETWORK, device=device)
        generator = torch.Generator().manual_seed(0)
        found = run(RowSpace(), observation, prior, generator=generator)
        images.append(found.images)
    first = images[0]
    assert all((other - first).abs().mean() < 0.01 for other in images[1:])
