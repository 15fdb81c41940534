"""Tests of medleak.custom.data.transforms."""

import pickle
import re
import subprocess
import sys
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from medleak.custom.data.datalist import DataError, Item
from medleak.custom.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    decode,
    image_transform,
    load_images,
    network_input,
)


def gradient(height=20, width=30):
    """Dark at the left, bright at the right, and one white corner: no symmetry is left."""
    pixels = np.tile(np.linspace(10, 200, width).astype(np.uint8), (height, 1))
    pixels[:5, :5] = 255
    return pixels


def load(path, spatial_size, channels: Literal[1, 3] = 1):
    images, _ = load_images([Item(str(path), 0, "p")], spatial_size=spatial_size, channels=channels)
    return images[0]


def refusal(path):
    """The one line by which the image is refused."""
    with pytest.raises(DataError) as caught:
        load(path, (8, 8))
    message = str(caught.value)
    assert re.fullmatch(rf"Image '.*{path.name}' [^\n]*\. [A-Z][^\n]*\.", message)
    return message


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_an_image_comes_as_pil_shows_it_rows_first(tmp_path, format):
    Image.fromarray(gradient()).save(tmp_path / "x", format=format)
    image = load(tmp_path / "x", (20, 30))
    assert image.shape == (1, 20, 30)
    np.testing.assert_allclose(image[0].numpy(), gradient() / 255, atol=1e-7)


def test_colour_channels_come_in_the_order_red_green_blue(tmp_path):
    Image.new("RGB", (4, 2), (255, 51, 0)).save(tmp_path / "x.png")
    image = load(tmp_path / "x.png", (2, 4), channels=3)
    np.testing.assert_allclose(image.mean((1, 2)).numpy(), [1, 0.2, 0], atol=1e-7)


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_exif_orientation_is_carried_out_before_exif_is_dropped(tmp_path, turn):
    upright = Image.fromarray(gradient())
    # How a camera that was held in each of the eight ways stores the same view.
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    (upright if stored is None else upright.transpose(stored)).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(decode(tmp_path / "x.png", (20, 30), 1)[..., 0], gradient())


def test_damaged_exif_leaves_the_image_as_it_is(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "x.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    np.testing.assert_array_equal(decode(tmp_path / "x.png", (20, 30), 1)[..., 0], gradient())


def as_mode(mode):
    """A picture of mid gray in ``mode``; of white where there is no gray."""
    if mode == "1":
        return Image.new("1", (8, 8), 1)
    gray = Image.new("L", (8, 8), 128)
    return gray.quantize(4) if mode == "P" else gray.convert(mode)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mode", "format", "gray"),
    [
        ("1", "PNG", 1.0),
        ("L", "PNG", 128 / 255),
        ("P", "PNG", 128 / 255),
        ("P", "GIF", 128 / 255),
        ("LA", "PNG", 128 / 255),
        ("RGB", "PNG", 128 / 255),
        ("RGBA", "PNG", 128 / 255),
        ("CMYK", "TIFF", 128 / 255),
        ("CMYK", "JPEG", 128 / 255),
        ("YCbCr", "TIFF", 128 / 255),
    ],
)
def test_every_eight_bit_mode_becomes_the_channels_asked_for(
    tmp_path, mode, format, gray, channels
):
    as_mode(mode).save(tmp_path / "x", format=format)
    image = load(tmp_path / "x", (8, 8), channels)
    assert image.shape == (channels, 8, 8)
    torch.testing.assert_close(image[:, 4, 4], torch.full((channels,), gray), atol=0.01, rtol=0)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_transparency_hides_is_not_shown(tmp_path, mode):
    image = Image.fromarray(gradient()).convert(mode)
    image.putalpha(0)
    image.save(tmp_path / "x.png")
    assert load(tmp_path / "x.png", (20, 30)).max() == 0


@pytest.mark.parametrize(
    ("pixels", "kind", "format"),
    [
        (np.full((8, 8), 4095, np.uint16), "gray, uint16, values 4095 to 4095", "PNG"),
        (np.full((8, 8), 4095, np.uint16), "gray, uint16, values 4095 to 4095", "TIFF"),
        (np.full((8, 8), 0.5, np.float32), "gray, float32, values 0.5 to 0.5", "TIFF"),
        (np.full((8, 8), 70000, np.int32), "gray, int32, values 70000 to 70000", "TIFF"),
    ],
)
def test_more_than_eight_bits_are_refused_by_kind_and_values(tmp_path, pixels, kind, format):
    Image.fromarray(pixels).save(tmp_path / "x.png", format=format)
    said = refusal(tmp_path / "x.png")
    assert f"({kind})" in said
    assert "--window" in said


def test_a_text_file_named_png_is_refused_by_name(tmp_path):
    (tmp_path / "x.png").write_text("not an image")
    assert "holds no PNG" in refusal(tmp_path / "x.png")


def test_a_truncated_image_is_refused_by_name(tmp_path):
    Image.fromarray(gradient(64, 64)).save(tmp_path / "x.jpg")
    content = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(content[: len(content) // 2])
    assert "truncated" in refusal(tmp_path / "x.jpg")


def test_a_missing_image_is_refused_by_name(tmp_path):
    assert "does not exist" in refusal(tmp_path / "x.png")


def test_another_kind_of_file_named_png_is_not_handed_to_other_readers(tmp_path):
    # MONAI's LoadImage would go on to numpy's and nibabel's readers after Pillow's.
    with (tmp_path / "x.png").open("wb") as file:
        np.save(file, np.zeros((8, 8), np.uint8))
    assert "holds no PNG" in refusal(tmp_path / "x.png")


SECRET = "DOE^JANE 1970-01-01"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_nothing_but_pixels_and_label_stays(tmp_path, format):
    exif = Image.Exif()
    exif[0x010E] = SECRET  # ImageDescription
    exif[0x013B] = SECRET  # Artist
    options = {
        "JPEG": {"exif": exif, "comment": SECRET.encode(), "icc_profile": SECRET.encode()},
        "PNG": {"exif": exif, "pnginfo": PngImagePlugin.PngInfo()},
        "TIFF": {"exif": exif, "description": SECRET},
    }[format]
    if format == "PNG":
        options["pnginfo"].add_text("Patient", SECRET)
    path = tmp_path / f"{SECRET}.img"
    Image.fromarray(gradient()).save(path, format=format, **options)
    assert SECRET.encode() in path.read_bytes()
    sample: Any = image_transform((20, 30))(
        {"image": str(path), "label": 1, "patient": SECRET, "note": {"name": SECRET}}
    )
    assert sorted(sample) == ["image", "label"]
    assert type(sample["image"]) is torch.Tensor
    assert not vars(sample["image"])
    assert SECRET.encode() not in pickle.dumps(sample)
    assert sample["label"] == 1


def test_shrinking_averages_instead_of_skipping_pixels(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "x.png")
    inner = load(tmp_path / "x.png", (16, 16))[:, :, 2:-2]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.5), atol=0.02, rtol=0)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_any_size_becomes_the_size_asked_for_within_zero_and_one(
    tmp_path_factory, height, width, new_height, new_width
):
    path = tmp_path_factory.mktemp("sizes") / "x.png"
    pixels = np.random.default_rng(0).integers(0, 2, (height, width), dtype=np.uint8)
    Image.fromarray(255 * pixels).save(path)
    image = load(path, (new_height, new_width))
    assert image.shape == (1, new_height, new_width)
    assert image.min() >= 0
    assert image.max() <= 1


def test_images_come_in_order_with_their_labels_from_the_data_root(tmp_path):
    items = []
    for k in range(5):
        Image.new("L", (6, 6), 51 * k).save(tmp_path / f"{k}.png")
        items.insert(0, Item(f"{k}.png", k % 2, f"p{k}"))
    images, labels = load_images(items, spatial_size=(6, 6), data_root=tmp_path)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images[:, 0, 0, 0], torch.tensor([0.8, 0.6, 0.4, 0.2, 0.0]))
    assert labels.tolist() == [0, 1, 0, 1, 0]
    assert labels.dtype == torch.int64


def test_loading_twice_gives_the_very_same_pixels(tmp_path):
    Image.fromarray(gradient(50, 70)).save(tmp_path / "x.jpg")
    first, second = (load(tmp_path / "x.jpg", (33, 17)) for _ in range(2))
    assert torch.equal(first, second)


def test_no_items_are_an_empty_batch():
    images, labels = load_images([], spatial_size=(8, 9), channels=3)
    assert (images.shape, labels.shape) == ((0, 3, 8, 9), (0,))


@pytest.mark.parametrize(("size", "channels"), [((8, 8), 2), ((8, 0), 1), ((8,), 1)])
def test_a_shape_that_no_network_takes_is_refused(size, channels):
    with pytest.raises(DataError, match="Images cannot be made"):
        image_transform(size, channels)


def test_network_input_by_hand():
    gray = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    x = network_input(gray, mean=(0, 0.5, 1), std=(1, 0.5, 2))
    expected = torch.tensor([[0.0, 1.0], [-1.0, 1.0], [-0.5, 0.0]]).view(1, 3, 1, 2)
    torch.testing.assert_close(x, expected)


def test_network_input_agrees_with_torchvision_on_colour():
    from torchvision.transforms.functional import normalize

    images = torch.rand((2, 3, 5, 4), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        network_input(images, IMAGENET_MEAN, IMAGENET_STD),
        normalize(images, list(IMAGENET_MEAN), list(IMAGENET_STD)),
    )


def test_network_input_passes_gradients_to_the_gray_image():
    image = torch.full((1, 1, 2, 2), 0.5, requires_grad=True)
    network_input(image, (0, 0, 0), (1, 2, 4)).sum().backward()
    assert image.grad is not None
    torch.testing.assert_close(image.grad, torch.full((1, 1, 2, 2), 1.75))


@pytest.mark.parametrize("shape", [(1, 2, 4, 4), (1, 4, 4), (4, 4)])
def test_network_input_refuses_what_is_no_batch_of_images(shape):
    with pytest.raises(ValueError, match="1 or 3, H, W"):
        network_input(torch.zeros(shape), (0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0, 0), (1, 1, 1)),
        ((0, 0, 0), (1,)),
        ((0, 0, 0), (1, 0, 1)),
        ((0, 0, 0), (float("nan"),) * 3),
    ],
)
def test_network_input_refuses_a_normalisation_that_is_not_finite(mean, std):
    with pytest.raises(ValueError, match="mean and std must have"):
        network_input(torch.zeros(1, 1, 4, 4), mean, std)


def test_importing_the_data_modules_imports_neither_torch_nor_monai():
    code = (
        "import sys, medleak.custom.data.transforms\n"
        "import medleak.custom.sites.split, medleak.custom.phantoms\n"
        "print({'torch', 'monai', 'nvflare', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
