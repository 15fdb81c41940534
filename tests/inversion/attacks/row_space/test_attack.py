"""Tests of medleak.inversion.attacks.row_space on problems whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.networks.nets.torchvision_fc import TorchVisionFCModel
from PIL import Image
from safetensors.torch import load_file
from skimage.metrics import structural_similarity
from tests.places import SHARED

from medleak.custom.networks import load_weights
from medleak.custom.record import ModelSpec
from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.attacks.row_space.recipes import ROUGH, by_features
from medleak.inversion.knowledge import Knowledge, KnowledgeError

pytestmark = pytest.mark.slow

NETWORK = ModelSpec(
    path="monai.networks.nets.ResNet",
    args={
        "block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 72, 72],
        "spatial_dims": 2, "n_input_channels": 3, "conv1_t_size": 3, "conv1_t_stride": 1,
        "no_max_pool": True, "num_classes": 2,
    },
)  # fmt: skip
PRIOR = torch.full((1, 1, 32, 32), 0.5)
# The rate and variation that suit this small network; ROUGH's own are chosen for a ResNet-18.
GENTLE = replace(ROUGH.descent, iterations=300, lr=0.03, variation=(0.3, 0.1))
SHORT = RowSpace(stages=(replace(ROUGH, descent=GENTLE),), attempts=1)


def attack(observation, settings=SHORT, prior=PRIOR, seed=0, **more):
    generator = torch.Generator().manual_seed(seed)
    return run(settings, observation, prior, generator=generator, **more)


def hazy(truth):
    """A prior as a mean image is one: the large shapes, at a third of their contrast."""
    return 0.35 + 0.3 * torch.nn.functional.avg_pool2d(truth, 9, 1, 4, count_include_pad=False)


def error_of(images, truth):
    """Mean absolute error, as a share of the prior's."""
    gap = (hazy(truth) - truth).abs().mean()
    return ((images - truth).abs().mean() / gap).item()


def error(found, truth):
    return error_of(found.images, truth)


@pytest.fixture
def one(observed, smooth_images):
    """One client with one image: (truth, observation)."""
    truth = smooth_images(size=32)
    return truth, observed(truth, torch.tensor([1]), NETWORK)


def test_it_inverts_its_easy_case_and_says_so(one):
    truth, observation = one
    found = attack(observation, prior=hazy(truth))
    assert error(found, truth) < 0.5
    assert found.labels is not None
    assert found.labels.tolist() == [1]
    assert found.losses["statistics"] < 0.05
    assert found.iterations == len(found.history) == 300


def test_features_alone_find_the_image(one):
    truth, observation = one
    stage = by_features(200)
    alone = replace(stage, norms="none", descent=replace(stage.descent, variation=0.001))
    found = attack(observation, RowSpace(stages=(alone,), attempts=1), prior=hazy(truth))
    assert error(found, truth) < 0.5


def test_colour_is_reconstructed_in_colour(observed, smooth_images):
    truth = smooth_images(channels=3, size=32)
    found = attack(observed(truth, torch.tensor([0]), NETWORK), prior=hazy(truth))
    assert found.images.shape == (1, 3, 32, 32)
    assert error(found, truth) < 0.9


def test_one_seed_gives_one_result(one):
    short = replace(SHORT, stages=(replace(ROUGH, descent=replace(ROUGH.descent, iterations=5)),))
    first, second = (attack(one[1], short) for _ in range(2))
    torch.testing.assert_close(first.images, second.images, rtol=0, atol=1e-6)


def test_a_prior_of_another_size_is_refused(one):
    with pytest.raises(ValueError, match="it cannot be their start"):
        attack(one[1], prior=torch.rand(1, 1, 24, 24))


def test_the_first_start_of_one_image_is_the_prior_and_later_ones_are_drawn(one):
    hopeless = replace(ROUGH, descent=replace(ROUGH.descent, iterations=1, lr=1e-9))
    once, again = (RowSpace(stages=(hopeless,), attempts=n) for n in (1, 2))
    prior = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(3)) / 2
    torch.testing.assert_close(attack(one[1], once, prior).images, prior, rtol=0, atol=1e-6)
    found = [attack(one[1], again, one[0] * 0 + 0.5, seed=seed) for seed in (0, 1)]
    assert [f.attempts for f in found] == [2, 2]
    assert found[0].history[0] == found[1].history[0]
    assert found[0].history[1] != found[1].history[1]


def test_the_observation_is_unchanged_by_an_attack(one):
    observation = one[1]
    network = {k: v.clone() for k, v in observation.network().state_dict().items()}
    update, prior = observation.parameter_update, PRIOR.clone()
    attack(observation, replace(SHORT, seconds=0.2))
    for name, value in observation.network().state_dict().items():
        assert torch.equal(value, network[name]), name
    for name, value in observation.parameter_update.items():
        assert torch.equal(value, update[name]), name
    assert torch.equal(PRIOR, prior)
    assert all(p.grad is None for p in observation.network().parameters())


def test_a_budget_ends_the_attack_and_is_named(one):
    found = attack(one[1], RowSpace(seconds=0.5))
    assert found.ending == "budget"
    assert found.seconds < 2


def test_an_interrupt_keeps_the_images_so_far(one):
    def interrupt(progress):
        if progress.iteration == 20:
            raise KeyboardInterrupt

    found = attack(one[1], RowSpace(), on_progress=interrupt)
    assert found.ending == "interrupted"
    assert found.iterations == 20
    assert not torch.equal(found.images, PRIOR)


def test_progress_counts_every_iteration(one):
    seen = []
    attack(one[1], on_progress=seen.append)
    assert [p.iteration for p in seen] == list(range(1, 301))
    assert seen[0].total == 300
    assert seen[-1].loss < seen[0].loss


def test_divergence_restarts_and_is_counted(one, monkeypatch):
    import medleak.inversion.evidence.terms as module

    true_share, calls = module.outside_share, []

    def first_call_is_nan(patches, basis):
        calls.append(1)
        return true_share(patches, basis) * (float("nan") if len(calls) == 1 else 1.0)

    monkeypatch.setattr(module, "outside_share", first_call_is_nan)
    assert attack(one[1], replace(SHORT, attempts=2)).attempts == 2


def test_attempts_that_all_diverge_are_an_error(one, monkeypatch):
    monkeypatch.setattr(
        "medleak.inversion.evidence.terms.outside_share",
        lambda *_: torch.tensor(float("nan")).requires_grad_(),
    )
    with pytest.raises(ArithmeticError, match="All 2 attempts diverged"):
        attack(one[1], replace(SHORT, attempts=2))


def test_a_run_that_failed_by_its_own_loss_is_marked_stuck_and_tried_again(one):
    hopeless = replace(ROUGH, descent=replace(ROUGH.descent, iterations=2))
    found = attack(one[1], RowSpace(stages=(hopeless,), attempts=3))
    assert found.stuck
    assert found.attempts == 3


def test_statistics_alone_serve_where_noise_hides_the_row_spaces(observed, smooth_images):
    truth = smooth_images(size=32)
    generator = torch.Generator().manual_seed(0)

    def noise(name, value):
        return (
            value + 0.01 * torch.randn(value.shape, generator=generator)
            if value.ndim == 4  # convolutions, those of the short cuts too
            else value
        )

    found = attack(
        observed(truth, torch.tensor([1]), NETWORK, change=noise),
        RowSpace(seconds=4, attempts=1),
        hazy(truth),
    )
    assert found.losses["span"] == 0
    assert error(found, truth) < 0.7


def test_without_statistics_row_spaces_find_the_shape_and_contrast_is_guessed(
    observed, smooth_images
):
    truth = smooth_images(size=32)
    observation = observed(
        truth, torch.tensor([1]), NETWORK, knowledge=Knowledge(bn_statistics=False)
    )
    found = attack(observation, RowSpace(seconds=6, attempts=1), hazy(truth))
    both = torch.stack([found.images.flatten(), truth.flatten()])
    assert np.corrcoef(both.numpy())[0, 1] > 0.9
    assert found.losses["statistics"] == 0


@pytest.mark.parametrize("field", ["global_model", "n_images", "batch_size"])
def test_what_it_needs_and_is_not_granted_is_an_error(observed, smooth_images, field):
    knowledge = replace(Knowledge(), **{field: False})
    observation = observed(smooth_images(size=32), torch.tensor([1]), NETWORK, knowledge=knowledge)
    with pytest.raises(KnowledgeError, match=f"{field} is withheld"):
        attack(observation)


def test_an_update_without_anything_to_match_is_an_error_and_not_safety(observed, smooth_images):
    knowledge = Knowledge(bn_statistics=False)
    observation = observed(
        smooth_images(n=16, size=32), torch.arange(16) % 2, NETWORK, knowledge=knowledge
    )
    with pytest.raises(ValueError, match="no evidence of safety"):
        attack(observation)


def test_an_update_of_zeros_is_said_to_be_one(observed, smooth_images):
    given = observed(smooth_images(size=32), torch.tensor([1]), NETWORK)
    zeros = replace(given, _update={n: torch.zeros_like(u) for n, u in given._update.items()})
    with pytest.raises(ValueError, match="Every entry of the update is zero"):
        attack(zeros)


@pytest.mark.parametrize(
    "bad", [{"attempts": 0}, {"seconds": 0.0}, {"seconds": float("nan")}, {"stages": ()}]
)
def test_settings_that_cannot_run_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        RowSpace(**bad)


def load(file):
    gray = Image.open(file).convert("L").resize((64, 64), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(gray, np.float32) / 255)[None]


@pytest.mark.skipif(
    not (SHARED / "data" / "cxr").is_dir() or not (SHARED / "weights").is_dir(),
    reason=f"needs the real X-rays and weights in {SHARED} (set MEDLEAK_SHARED)",
)
def test_a_real_x_ray_is_reconstructed_to_ssim_0_9(observed, monkeypatch):
    """The small form of tests/benchmarks/attacks.py."""
    files = sorted((SHARED / "data" / "cxr" / "normal").iterdir())
    prior = torch.stack([load(f) for f in files[:100]]).mean(0, keepdim=True)
    truth = load(files[300])[None]
    weights = load_file(SHARED / "weights" / "resnet18_medical.safetensors")
    # The client of these tests starts from what its factory makes.
    monkeypatch.setattr(
        "medleak.custom.networks.architectures.TorchVisionFCModel",
        lambda *a, **k: load_weights(TorchVisionFCModel(*a, **k), weights),
    )
    spec = ModelSpec(path="medleak.custom.networks.resnet18", args={"num_classes": 2})
    found = attack(observed(truth, torch.tensor([0]), spec, lr=0.01), RowSpace(seconds=15), prior)
    value = structural_similarity(truth[0, 0].numpy(), found.images[0, 0].numpy(), data_range=1.0)
    assert float(np.asarray(value)) > 0.9
    assert not found.stuck
