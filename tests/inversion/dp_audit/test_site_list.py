from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from medleak.custom.record import CanaryMark, Manifest, UpdateInfo, write_manifest
from medleak.custom.sites import canaries
from medleak.custom.sites.canaries import Plan, drawn
from medleak.inversion.dp_audit.site_list import beside, list_of

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def records(tmp_path):
    root = tmp_path / "server" / "simulate_job" / "records"
    write_manifest(root, Manifest(job="j", created=BEGAN.isoformat()))
    return root


@pytest.fixture
def listed():
    made = drawn(Plan(kind="gradients", count=60), "site-1", shapes={"w": (64, 64)}, num_classes=2)
    half = tuple(replace(c, planted=k % 2 == 0) for k, c in enumerate(made.canaries))
    return replace(made, canaries=half, created=BEGAN + timedelta(minutes=2))


def info(minutes=4.0, **changes):
    time = (BEGAN + timedelta(minutes=minutes)).isoformat()
    mark = CanaryMark(kind="gradients", count=60)
    fields = {"round": 0, "site": "site-1", "time": time, "canaries": mark} | changes
    return UpdateInfo.model_validate(fields)


def given(tmp_path, listed):
    canaries.save(tmp_path / "list.json", listed)
    return tmp_path / "list.json"


def test_a_list_is_found_where_a_simulated_site_left_it(tmp_path, records, listed):
    place = tmp_path / "site-1" / "simulate_job" / canaries.FILE
    with pytest.raises(ValueError, match="stays at the site"):
        list_of(records, "site-1", [info()], None)
    canaries.save(place, listed)
    assert beside(records, "site-1", canaries.FILE) == place
    assert list_of(records, "site-1", [info(), info(round=1)], None) == listed


@pytest.mark.parametrize(
    ("change", "seen", "why"),
    [
        ({"site": "site-2"}, {}, "of two runs"),
        ({}, {"canaries": {"kind": "gradients", "count": 61}}, "of two runs"),
        ({"created": BEGAN - timedelta(hours=1)}, {}, "of two runs, or the clocks"),
        ({"created": BEGAN + timedelta(hours=1)}, {}, "of two runs, or the clocks"),
        ({}, {"time": "yesterday"}, "is not known"),
        ({}, {"time": "2026-03-01T12:04:00"}, "is not known"),
    ],
)
def test_a_list_of_another_run_is_refused(tmp_path, records, listed, change, seen, why):
    path = given(tmp_path, replace(listed, **change))
    with pytest.raises(ValueError, match=why):
        list_of(records, "site-1", [info(**seen)], path)


def test_clocks_may_differ_by_a_minute(tmp_path, records, listed):
    for minutes in (-0.9, 4.9):
        own = replace(listed, created=BEGAN + timedelta(minutes=minutes))
        assert list_of(records, "site-1", [info()], given(tmp_path, own)) == own


def test_another_list_than_the_one_beside_the_record_is_refused(tmp_path, records, listed):
    canaries.save(tmp_path / "site-1" / "simulate_job" / canaries.FILE, listed)
    turned = tuple(replace(c, planted=not c.planted) for c in listed.canaries)
    path = given(tmp_path, replace(listed, canaries=turned))
    with pytest.raises(ValueError, match="is not the list that site-1 left in this run"):
        list_of(records, "site-1", [info()], path)


@pytest.mark.parametrize("planted", [False, True])
def test_coins_that_all_fell_alike_are_refused(tmp_path, records, listed, planted):
    all_alike = tuple(replace(c, planted=planted) for c in listed.canaries)
    path = given(tmp_path, replace(listed, canaries=all_alike))
    assert set(canaries.load(path).planted.tolist()) == {planted}
    with pytest.raises(ValueError, match="fair coins do not fall so"):
        list_of(records, "site-1", [info()], path)
