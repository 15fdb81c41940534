"""Tests of medleak.inversion.images.prior."""

import numpy as np
import pytest
import torch
from PIL import Image

from medleak.custom.data.datalist import DataError, Item, save_datalist
from medleak.custom.phantoms import listing, phantom
from medleak.inversion.images.pictures import save_png, to_picture
from medleak.inversion.images.prior import load_prior, mean_image, public_items
from medleak.inversion.measures.similarity import ssim


def write(path, value, mode="L", size=(20, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)
    return path


def test_the_mean_of_two_flat_images_is_flat_between_them(tmp_path):
    for name, value in (("a/x.png", 51), ("b/y.png", 153)):
        write(tmp_path / name, value)
    prior = mean_image(public_items(tmp_path), (8, 10), 1)
    assert prior.shape == (1, 1, 8, 10)
    torch.testing.assert_close(prior, torch.full_like(prior, 0.4))


def test_the_mean_is_over_all_images_also_beyond_one_chunk(tmp_path):
    values = list(range(0, 250, 3))
    for value in values:
        write(tmp_path / f"{value:03}.png", value, size=(8, 8))
    prior = mean_image(public_items(tmp_path), (8, 8), 1)
    assert prior.mean().item() == pytest.approx(np.mean(values) / 255, abs=1e-6)


@pytest.mark.parametrize("layout", ["flat", "classes", "datalist"])
def test_images_are_found_in_a_folder_in_class_folders_and_in_a_datalist(tmp_path, layout):
    at = tmp_path / "a" if layout == "classes" else tmp_path
    images = [write(at / f"{k}.png", 10 * k) for k in range(3)]
    source = tmp_path
    if layout == "datalist":
        source = tmp_path / "lists" / "public.json"
        items = [Item(str(i), 0, "p") for i in images]
        save_datalist(source, {"training": items[:2], "test": items[2:]})
    found = public_items(source)
    assert sorted(i.image for i in found) == sorted(map(str, images))
    assert mean_image(found, (8, 8), 3).shape == (1, 3, 8, 8)


def test_an_empty_source_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        public_items(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        public_items(tmp_path / "nothing")
    with pytest.raises(ValueError, match="at least one image"):
        mean_image([], (8, 8), 1)


def test_a_written_prior_is_read_back_at_its_own_size(tmp_path):
    image = torch.rand(1, 3, 12, 14)
    save_png(tmp_path / "p.png", to_picture(image[0]))
    back = load_prior(str(tmp_path / "p.png"), (12, 14), 3)
    torch.testing.assert_close(back, image, atol=0.5 / 255 + 1e-6, rtol=0)


def test_a_larger_prior_is_made_smaller_with_antialiasing(tmp_path):
    stripes = torch.tensor([0.0, 1.0]).repeat(32).expand(1, 64, 64)
    save_png(tmp_path / "p.png", to_picture(stripes))
    small = load_prior(str(tmp_path / "p.png"), (16, 16), 1)
    assert (small - 0.5).abs().max() < 0.1  # without it, stripes of 0 or 1 would be left


def test_gray_is_one_half_everywhere():
    assert torch.equal(load_prior("gray", (9, 7), 3), torch.full((1, 3, 9, 7), 0.5))


def test_the_phantom_prior_resembles_phantoms_of_other_seeds_and_is_none_of_them():
    prior = load_prior("phantoms", (64, 64), 1)
    films = np.stack([phantom("cxr", i.image, 64, 0).image for i in listing(6, 0)])
    truth = torch.from_numpy(films)[:, None].float() / 255
    similar = ssim(truth, prior.expand_as(truth))
    assert (similar > ssim(truth, torch.full_like(truth, 0.5))).all()
    assert similar.max() < 0.95
    assert torch.equal(prior, load_prior("phantoms", (64, 64), 1))


@pytest.mark.parametrize(
    ("mode", "size", "channels", "message"),
    [
        ("RGB", (16, 16), 1, r"3 channel\(s\), the record's images 1"),
        ("L", (16, 16), 3, r"1 channel\(s\), the record's images 3"),
        ("L", (15, 16), 1, "16 x 15 px, smaller than the record's 16 x 16"),
        ("L", (40, 20), 1, "another aspect ratio"),
        ("RGBA", (16, 16), 1, "mode RGBA"),
        ("I;16", (16, 16), 1, "mode I;16"),
    ],
)
def test_a_prior_of_another_kind_is_refused(tmp_path, mode, size, channels, message):
    path = write(tmp_path / "p.png", 0, mode, size)
    with pytest.raises(ValueError, match=message):
        load_prior(str(path), (16, 16), channels)


def test_a_missing_or_damaged_prior_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.png' is neither a file nor one of gray"):
        load_prior(str(tmp_path / "nowhere.png"), (8, 8), 1)
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"text\.png"):
        load_prior(str(tmp_path / "text.png"), (8, 8), 1)


@pytest.mark.parametrize("modality", ["fundus", "brain_mri", "dermoscopy"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_modality_has_a_phantom_prior(modality, channels):
    prior = load_prior(f"phantoms:{modality}", (32, 32), channels)
    assert prior.shape == (1, channels, 32, 32)
    assert 0 <= float(prior.min()) < float(prior.max()) <= 1
    assert not torch.equal(prior, load_prior("phantoms:cxr", (32, 32), channels))


def test_an_unknown_modality_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match="phantoms:fundus"):
        load_prior("phantoms:knee", (32, 32), 1)


def test_parts_of_a_split_are_one_prior_and_masks_are_none(tmp_path):
    for name in ("set/train/a.png", "set/test/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9)).save(tmp_path / name)
    assert len(public_items(tmp_path / "set")) == 2
    Image.new("L", (9, 9)).save(tmp_path / "set/test/b_mask.png")
    with pytest.raises(DataError, match="are masks of the images beside them"):
        public_items(tmp_path / "set")
    (tmp_path / "set/masks").mkdir()
    (tmp_path / "set/test/b_mask.png").rename(tmp_path / "set/masks/b.png")
    with pytest.raises(DataError, match="holds masks among its images"):
        public_items(tmp_path / "set")
