"""Tests of medleak.inversion.evidence.sources.patch_embedding."""

import pytest
import torch
from tests.inversion.evidence.rounds import saying
from tests.inversion.evidence.tokens.networks import pixels

from medleak.custom.record import ModelSpec
from medleak.inversion.attacks.row_space import RowSpace, run
from medleak.inversion.evidence.reading import Reading
from medleak.inversion.evidence.sources.patch_embedding import SOURCE
from medleak.inversion.measures.similarity import assign, psnr

VIT = ModelSpec(
    path="torchvision.models.VisionTransformer",
    args={
        "image_size": 32,
        "patch_size": 8,
        "num_layers": 1,
        "num_heads": 4,
        "hidden_dim": 64,
        "mlp_dim": 64,
        "num_classes": 2,
    },
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def client(observed):
    """A client of a small ViT whose head is not zero."""

    def make(n=1, channels=1, **options):
        images = torch.cat([pixels((channels, 32, 32), seed) for seed in range(n)])
        options = {"mean": MEAN, "std": STD, "awake": True} | options
        return images, observed(images, torch.arange(n) % 2, VIT, **options)

    return make


def attacked(observation):
    return run(RowSpace(), observation, None, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_row_space_gives_the_image_and_its_label_without_a_descent(client, channels):
    images, observation = client(channels=channels)
    found = attacked(observation)

    assert float(psnr(images, found.images)) > 40
    assert (found.stuck, found.iterations) == (False, 1)
    assert found.labels is not None
    assert found.labels.tolist() == [0]


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 4},
        {"epochs": 3, "momentum": 0.9},
        {"weight_decay": 0.01},
        {"epochs": 3, "momentum": 0.9, "weight_decay": 0.01},
        {"lr": 0.003},
    ],
    ids=["epochs", "momentum", "decay", "all", "small steps"],
)
def test_however_sgd_trained_on_one_image_it_comes_back(client, options):
    images, observation = client(**options)

    assert float(psnr(images, attacked(observation).images)) > 30


def test_what_is_told_says_how_well_the_image_follows(client):
    _, observation = client()
    (told,) = SOURCE.tell(Reading(observation))

    assert (told.layer, told.positions, told.expected, told.images) == ("conv_proj", 16, 16, 1)
    assert told.useful
    assert told.exact
    assert "16 of 16 patches' directions stand out: the image follows" in told.words


def test_several_images_share_their_signals_and_that_is_said(client):
    _, observation = client(n=2)
    (told,) = SOURCE.tell(Reading(observation))

    assert not told.useful
    assert "the 2 images share one signal a token" in told.words
    assert SOURCE.answer is not None
    assert SOURCE.answer(Reading(observation)) is None
    with pytest.raises(ValueError, match=r"nothing to match .*share one signal a token"):
        attacked(observation)


def test_a_first_step_from_a_head_of_zeros_carries_nothing_and_that_is_said(client):
    _, observation = client(awake=False)
    (told,) = SOURCE.tell(Reading(observation))

    assert not told.useful
    assert "a first step from a head of zeros" in told.words


def test_a_frozen_embedding_is_told(client):
    def frozen(name, value):
        return torch.zeros_like(value) if name.endswith("pos_embedding") else value

    _, observation = client(change=frozen)
    (told,) = SOURCE.tell(Reading(observation))

    assert not told.useful
    assert "fixed or frozen" in told.words


@pytest.mark.parametrize("sigma", [1e-4, 1e-2, 1.0])
def test_noise_on_the_update_is_no_image_and_is_never_called_one(client, sigma):
    generator = torch.Generator().manual_seed(0)

    def noised(name, value):
        noise = sigma * value.float().std().nan_to_num(1.0) if value.numel() > 1 else 0.0
        return value + noise * torch.randn(value.shape, generator=generator)

    images, observation = client(change=noised)
    assert SOURCE.answer is not None
    answer = SOURCE.answer(Reading(observation))
    assert answer is not None
    error = float((answer.images - images).square().mean().sqrt())
    assert answer.stuck or error < 0.12


@pytest.mark.parametrize("eps", [1e-10, 1e-2], ids=["nearly signs", "nearly a gradient"])
def test_a_step_of_adam_is_an_image_or_known_to_be_none(client, eps):
    lr = 0.1

    def adam(name, value):
        gradient = value.double() / lr
        return (lr * gradient / (gradient.abs() + eps)).float()

    images, observation = client(change=adam, lr=lr)
    reading = Reading(saying(observation, optimizer="adam", eps=eps))
    assert reading.undone is not None
    assert SOURCE.answer is not None
    answer = SOURCE.answer(reading)
    assert answer is not None
    assert answer.images.isfinite().all()
    error = float((answer.images - images).square().mean().sqrt())
    assert answer.stuck == (eps < 1e-3)
    assert answer.stuck or error < 0.05
    (told,) = SOURCE.tell(reading)
    assert told.useful is not answer.stuck
    assert ("tell a sign and a bound alone" in told.words) == answer.stuck


def test_more_images_than_were_declared_are_never_called_one(client):
    images, observation = client(n=2)
    answer = SOURCE.answer(Reading(saying(observation, n_images=1, batch_size=1)))  # pyright: ignore[reportOptionalCall]
    assert answer is not None
    error = float((answer.images - images).square().mean((1, 2, 3)).sqrt().min())
    assert answer.stuck or error < 0.12


def test_steps_that_are_no_sum_of_gradients_are_not_solved(client):
    _, observation = client(epochs=3)
    reading = Reading(saying(observation, optimizer="adamw"))
    (told,) = SOURCE.tell(reading)
    assert (told.useful, told.exact) == (False, None)
    assert "no sum of gradients" in told.words
    assert SOURCE.answer is not None
    assert SOURCE.answer(reading) is None


def test_more_patches_than_equations_are_not_taken_for_an_image(observed):
    narrow = ModelSpec(path=VIT.path, args={**VIT.args, "hidden_dim": 12, "num_heads": 2})
    image = pixels((1, 32, 32))
    _, observation = image, observed(image, torch.tensor([1]), narrow, awake=True)
    (told,) = SOURCE.tell(Reading(observation))

    assert told.rank is not None
    assert told.rank <= 12 < (told.positions or 0)
    assert not told.useful


def test_a_network_without_patches_tells_nothing(observed, smooth_images):
    observation = observed(smooth_images(), torch.tensor([0]))

    assert list(SOURCE.tell(Reading(observation))) == []


def test_pairs_are_assigned_as_for_any_attack(client):
    images, observation = client()
    assert assign(attacked(observation).images, images).ssim.item() > 0.98
