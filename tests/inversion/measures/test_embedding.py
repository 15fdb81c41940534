"""Tests of medleak.inversion.measures.embedding; weights are random, made once."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights, resnet18, resnet34

from medleak.inversion.measures.embedding import (
    FEATURES,
    MIN_SIDE_PX,
    EmbeddingError,
    load_embedding,
)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return resnet18(weights=None, num_classes=13).eval()


@pytest.fixture
def weights(network, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    """An empty hub cache, and a torch that fails when it is asked to download."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("network"))
    return tmp_path / "hub" / "checkpoints"


def test_features_are_what_the_head_would_have_got(network, weights):
    images = torch.rand(2, 3, 128, 128)
    features = load_embedding(str(weights))(images)
    assert features.shape == (2, FEATURES)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.no_grad():
        expected, got = network(x), network.fc(features)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_the_result_names_the_file_and_its_hash(weights):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert load_embedding(str(weights)).name == f"resnet18 weights.safetensors sha256:{digest[:12]}"


def test_a_gray_image_is_the_same_as_three_equal_channels(weights):
    embed, gray = load_embedding(str(weights)), torch.rand(1, 1, 128, 128)
    torch.testing.assert_close(embed(gray), embed(gray.expand(-1, 3, -1, -1)))


def test_small_images_are_enlarged_and_large_ones_are_not(weights):
    embed = load_embedding(str(weights))
    sizes = []
    embed.body.register_forward_hook(lambda _, x, __: sizes.append(tuple(x[0].shape[2:])))
    for height, width in ((32, 32), (64, 32), (200, 130)):
        embed(torch.rand(1, 1, height, width))
    assert sizes == [(MIN_SIDE_PX,) * 2, (2 * MIN_SIDE_PX, MIN_SIDE_PX), (200, 130)]


def test_features_do_not_depend_on_the_batch_and_no_images_have_none(weights):
    embed, images = load_embedding(str(weights)), torch.rand(3, 1, 128, 128)
    torch.testing.assert_close(embed(images)[1:2], embed(images[1:2]), rtol=1e-4, atol=1e-5)
    assert embed(images[:0]).shape == (0, FEATURES)


def test_weights_of_our_own_jobs_fit_by_their_names(network, weights, tmp_path):
    ours = {f"features.{k}": v.clone() for k, v in network.state_dict().items()}
    torch.save(ours, tmp_path / "ours.pt")
    images = torch.rand(1, 1, 128, 128)
    torch.testing.assert_close(
        load_embedding(str(tmp_path / "ours.pt"))(images), load_embedding(str(weights))(images)
    )


def test_without_imagenet_weights_at_hand_nothing_is_downloaded(no_cache):
    for source in (None, "imagenet"):
        with pytest.raises(EmbeddingError, match="not in torch's cache"):
            load_embedding(source)


def test_imagenet_weights_in_the_cache_are_used(network, no_cache):
    no_cache.mkdir(parents=True)
    torch.save(network.state_dict(), no_cache / ResNet18_Weights.DEFAULT.url.rpartition("/")[2])
    assert load_embedding().name.startswith("resnet18 imagenet sha256:")


def test_another_architecture_is_refused_by_a_tensors_name(network, tmp_path):
    path = tmp_path / "other.pt"
    torch.save(resnet34(weights=None).state_dict(), path)
    with pytest.raises(EmbeddingError, match="is no ResNet-18"):
        load_embedding(str(path))
    state = network.state_dict()
    torch.save({k: v for k, v in state.items() if k != "layer3.0.bn1.running_var"}, path)
    with pytest.raises(EmbeddingError, match=r"'layer3\.0\.bn1\.running_var' is missing"):
        load_embedding(str(path))


class Harmful:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b"junk"), "cannot be read|more than tensors"),
        (lambda path: torch.save({"a": Harmful()}, path), "could run code"),
        (lambda path: torch.save([1, 2], path), "no table of tensors"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_holds_no_weights_is_refused_and_runs_nothing(
    tmp_path, capsys, make, why, suffix
):
    make(tmp_path / f"file{suffix}")
    if suffix == ".safetensors":
        why = "does not exist|cannot be read"
    with pytest.raises(EmbeddingError, match=why):
        load_embedding(str(tmp_path / f"file{suffix}"))
    assert capsys.readouterr().out == ""
