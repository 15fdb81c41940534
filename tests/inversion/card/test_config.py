"""Tests of medleak.inversion.card.config: descriptions, and those that come with medleak."""

import pytest
from tests.places import ROOT

from medleak.inversion.card.config import read_card
from medleak.inversion.networks import build_network

NEEDED = "name: ours\nnetwork: medleak.custom.networks.resnet18:num_classes=2\n"
SHIPPED = sorted((ROOT / "docs" / "cards").glob("*.yaml"))


def written(tmp_path, text):
    path = tmp_path / "ours.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_description_can_be_simulated(path):
    config = read_card(path)
    model = config.model_spec()
    assert sum(p.numel() for p in build_network(model.path, model.args).parameters()) > 0
    assert config.source


def test_there_is_a_description_for_each_published_configuration():
    assert len(SHIPPED) >= 15


def test_two_fields_are_enough(tmp_path):
    config = read_card(written(tmp_path, NEEDED))
    assert (config.images, config.sites, config.replays()) == (1, 3, [])
    more = read_card(written(tmp_path, NEEDED + "defences: [withhold]\nsums: [2]\n"))
    assert more.replays() == ["withhold", "secure_aggregation:sites=2"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("speed: 1\n", "speed"),
        ("images: 0\n", "images"),
        ("lr: -1\n", "lr"),
        ("optimizer: lion\n", "optimizer"),
        ("optimizer: adam\nmomentum: 0.9\n", "takes no momentum"),
        ("kind: feet\n", "none of cxr"),
        ("kind: torso_ct\n", "3 dimensions"),
        ("input: 64x64\n", "no image"),
        ("task: hinge:2\n", "no loss"),
        ("defences: [prayer]\n", "Unknown defence"),
        ("defences: [noise_alone]\n", "none of a site"),
        ("defences: ['secure_aggregation:sites=2']\n", "goes into sums"),
        ("sums: [4]\n", "sites is 3"),
        ("network: '{}'\n", "is no name"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_a_line(tmp_path, more, words):
    path = written(tmp_path, f"name: ours\n{more}" if "network" in more else NEEDED + more)
    with pytest.raises(ValueError, match=words) as refused:
        read_card(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n",
        "a: [",
        "!!python/object/apply:os.system ['true']",
        "\x00",
        "name: " + "x" * 10**5,
    ],
)
def test_what_is_no_description_is_refused(tmp_path, text):
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        read_card(written(tmp_path, text))
