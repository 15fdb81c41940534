import json
import stat

import numpy as np
import pytest

from medleak.custom.sites.canaries import Plan, drawn, load, picture, save

SHAPES = {"a.weight": (40, 30), "a.bias": (40,), "b.weight": (10, 40)}


def listed(text="gradients:count=50"):
    return drawn(Plan.parse(text), "site-1", shapes=SHAPES, num_classes=3)


@pytest.mark.parametrize(
    "text",
    [
        *("gradients", "gradients:count=0", "gradients:count=1.5", "gradients:count=true"),
        *("images:count=4,norm=2", "gradients:count=5,norm=0", "gradients:count=5,norm=nan"),
        *("gradients:count=5,size=2", "films:count=5", "images:count=1000000", ""),
    ],
)
def test_a_plan_that_plants_nothing_or_too_much_is_refused(text):
    with pytest.raises(ValueError, match=r"canar|count|norm|is no name"):
        Plan.parse(text)


def test_coordinates_are_apart_and_of_matrices_alone():
    found = listed("gradients:count=79")
    places = {(c.tensor, c.index) for c in found.canaries}
    assert len(places) == 79
    sizes = {"a.weight": 1200, "b.weight": 400}
    assert all(0 <= index < sizes[tensor] for tensor, index in places)
    assert {tensor for tensor, _ in places} == set(sizes)


def test_too_many_coordinates_for_a_network_are_refused():
    with pytest.raises(ValueError, match="Plant fewer"):
        listed("gradients:count=81")


def test_coins_are_fair_and_anew_each_time():
    many = [listed("gradients:count=50").planted for _ in range(40)]
    assert 0.45 < float(np.mean(many)) < 0.55  # 2000 coins: 4.5 standard deviations
    assert len({coins.tobytes() for coins in many}) == 40


@pytest.mark.parametrize("text", ["gradients:count=30,norm=2", "images:count=30"])
def test_a_list_is_read_as_it_was_written_by_its_owner_only(tmp_path, text):
    path = tmp_path / "site" / "list.json"
    save(path, made := listed(text))
    assert load(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"kind": "films"},
        {"site": 3},
        {"canaries": []},
        {"canaries": [{"tensor": "a", "index": 0}]},
        {"canaries": [{"tensor": "a", "index": -1, "planted": True}]},
        {"canaries": [{"tensor": "a", "index": 1, "planted": 1}]},
        {"canaries": [{"tensor": 2, "index": 1, "planted": True}]},
        {"canaries": [{"tensor": "a", "index": 1, "planted": True}] * 2},
        {"canaries": 7},
        {"canaries": [{"tensor": "a", "index": 1, "planted": p} for p in (True, False)]},
        {"created": "yesterday"},
        {"created": "2026-03-01T12:00:00"},
        {"created": None},
    ],
)
def test_a_damaged_list_is_refused_in_one_line(tmp_path, change):
    path = tmp_path / "list.json"
    save(path, listed())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match="is no list of canaries") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_nested_beyond_reason_is_refused_too(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is no list of canaries"):
        load(path)


def test_pictures_are_smooth_of_their_size_and_differ():
    one, other = picture(1, 1, (32, 48)), picture(2, 1, (32, 48))
    assert one.shape == (1, 32, 48)
    assert (one.min(), one.max()) == (0, 1)
    assert np.array_equal(one, picture(1, 1, (32, 48)))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.7
    assert np.abs(np.diff(one, axis=2)).max() < 0.3
