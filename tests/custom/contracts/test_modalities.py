"""Tests of every modality of medleak.custom.phantoms, against one contract."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from medleak.custom.data.folders.classes import read_folders
from medleak.custom.phantoms import MODALITIES, listing, mask_root, phantom, render
from medleak.custom.phantoms.canvas import generator

pytestmark = pytest.mark.slow

NEW = [name for name in MODALITIES if name != "cxr"]
MASKED = [name for name in MODALITIES if MODALITIES[name].masks]


def gray(pixels):
    """[H, W] in [0, 1]."""
    return (pixels / 255).mean(2) if pixels.ndim == 3 else pixels / 255


def flat(modality, name, size=64):
    return phantom(modality, name, size).image.ravel() / 255


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("size", [16, 64, 224, (48, 80)])
def test_a_phantom_has_the_size_type_and_channels_of_its_modality(modality, size):
    kind = MODALITIES[modality].classes[-1]
    image, mask = phantom(modality, f"{kind}/p00001_00.png", size)
    shape = (size, size) if isinstance(size, int) else size
    assert image.dtype == np.uint8
    assert image.shape == (shape if MODALITIES[modality].channels == 1 else (*shape, 3))
    assert int(image.max()) - int(image.min()) > 100
    assert (mask is not None) == MODALITIES[modality].masks
    if mask is not None:
        assert (mask.shape, mask.dtype) == (shape, np.uint8)
        assert set(np.unique(mask)) <= {0, 255}


@pytest.mark.parametrize("modality", MODALITIES)
def test_listings_are_even_over_all_classes_and_keep_patients_to_one(modality):
    classes = MODALITIES[modality].classes
    items = listing(203, 4, modality)
    counts = Counter(item.label for item in items)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(item.image.startswith(f"{classes[item.label]}/{item.patient}_") for item in items)
    labels = {(item.patient, item.label) for item in items}
    assert len({patient for patient, _ in labels}) == len(labels)
    assert listing(203, 4, modality) == items


def test_classes_can_be_chosen_and_ordered():
    items = listing(10, 0, "brain_mri", ("pituitary", "glioma"))
    assert {(item.label, item.image.split("/")[0]) for item in items} == {
        (0, "pituitary"),
        (1, "glioma"),
    }


@pytest.mark.parametrize("modality", NEW)
def test_equal_arguments_give_equal_pixels_and_each_argument_counts(modality):
    kind = MODALITIES[modality].classes[0]
    image = phantom(modality, f"{kind}/p00000_00.png", 64).image
    np.testing.assert_array_equal(phantom(modality, f"{kind}/p00000_00.png", 64).image, image)
    for name, seed in (("p00000_00", 1), ("p00002_00", 0), ("p00000_01", 0)):
        other = phantom(modality, f"{kind}/{name}.png", 64, seed).image
        assert np.mean(other != image) > 0.3


@pytest.mark.parametrize("modality", NEW)
def test_two_modalities_of_one_seed_share_no_patient(modality):
    assert generator(modality, 0, "p00000").random() != generator(0, "p00000").random()


@pytest.mark.parametrize("modality", NEW)
def test_the_same_phantom_at_two_sizes_is_the_same_picture(modality):
    name = f"{MODALITIES[modality].classes[0]}/p00004_00.png"
    small, large = (gray(phantom(modality, name, size).image) for size in (64, 224))
    shrunk = Image.fromarray(large.astype(np.float32)).resize((64, 64), Image.Resampling.BOX)
    assert np.corrcoef(small.ravel(), np.asarray(shrunk).ravel())[0, 1] > 0.97


@pytest.mark.parametrize("modality", NEW)
def test_visits_of_one_patient_are_more_alike_than_other_patients(modality):
    kind = MODALITIES[modality].classes[0]
    patients = [f"{kind}/p{k:05d}" for k in range(20)]
    same = [
        np.corrcoef(flat(modality, f"{p}_00.png"), flat(modality, f"{p}_01.png"))[0, 1]
        for p in patients
    ]
    other = [
        np.corrcoef(flat(modality, f"{p}_00.png"), flat(modality, f"{q}_01.png"))[0, 1]
        for p, q in pairwise(patients)
    ]
    assert np.mean(same) > np.mean(other) + 0.02
    assert max(same) < 0.9999


@pytest.mark.parametrize("modality", NEW)
def test_no_image_is_so_near_to_another_patients_that_a_reconstruction_could_be_either(modality):
    kind = MODALITIES[modality].classes[0]
    images = np.stack([flat(modality, f"{kind}/p{k:05d}_00.png") for k in range(24)])
    gaps = ((images[:, None] - images) ** 2).mean(2) + np.eye(len(images))
    assert gaps.min() > 1e-3  # PSNR of 30 dB


@pytest.mark.parametrize("modality", NEW)
def test_a_small_network_tells_the_classes_of_new_patients_apart_but_the_mean_does_not(modality):
    classes = MODALITIES[modality].classes[:2]
    items = listing(420, 1, modality, classes)
    images = np.stack([phantom(modality, item.image, 64, 1).image for item in items]) / 255
    x = torch.tensor(images, dtype=torch.float32).view(420, 64, 64, -1).permute(0, 3, 1, 2)
    y = torch.tensor([item.label for item in items])
    seen = torch.tensor([int(item.patient[1:]) % 3 != 0 for item in items])
    mean = x.mean((1, 2, 3))
    above = (mean[y == 1][:, None] > mean[y == 0]).double().mean()
    assert 0.3 < above < 0.7
    assert _accuracy(x[seen], y[seen], x[~seen], y[~seen]) > 0.65


def _accuracy(x, y, new, labels):
    torch.manual_seed(0)
    layers = []
    for before, after in ((x.shape[1], 16), (16, 32), (32, 64)):
        convolution = torch.nn.Conv2d(before, after, 3, 2, 1)
        layers += [convolution, torch.nn.BatchNorm2d(after), torch.nn.ReLU()]
    head = [torch.nn.AdaptiveMaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(256, 2)]
    network = torch.nn.Sequential(*layers, *head)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(14):
        for batch in torch.randperm(len(x)).split(16):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    network.eval()
    return (network(new).argmax(1) == labels).double().mean().item()


@pytest.mark.parametrize("modality", MASKED)
def test_masks_are_rendered_beside_the_images_and_never_among_the_classes(modality, tmp_path):
    items = listing(8, 0, modality)
    root = render(items, tmp_path, 32, 0, modality)
    found, names = read_folders(root)
    assert {names[item.label] for item in found} <= set(MODALITIES[modality].classes)
    assert {item.image for item in found} == {item.image for item in items}
    for item in items:
        with Image.open(mask_root(root) / item.image) as mask:
            drawn = phantom(modality, item.image, 32).mask
            assert drawn is not None
            np.testing.assert_array_equal(np.asarray(mask), drawn)
            assert not mask.info


@pytest.mark.parametrize("call", [listing, lambda n, seed, m: phantom(m, "a/p0_0.png", 64)])
def test_an_unknown_modality_is_refused_with_those_there_are(call):
    with pytest.raises(ValueError, match=r"'ultrasound'.*cxr, fundus, brain_mri, dermoscopy"):
        call(2, 0, "ultrasound")


def test_an_unknown_class_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'cataract'.*normal, glaucoma"):
        listing(2, 0, "fundus", ("normal", "cataract"))
