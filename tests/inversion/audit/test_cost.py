"""Tests of medleak.inversion.audit.cost: what an audit will cost."""

import dataclasses

import pytest
import torch
from tests.inversion.audit.audits import fake, outcomes, plan_of

from medleak.inversion.attacks.registry import ROWS
from medleak.inversion.audit import cost as estimate
from medleak.inversion.audit.cost import duration, size
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import estimate_cost


def half(_):
    return torch.full((1, 1, 16, 16), 0.5)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_attack_is_estimated_by_the_rate_of_its_row(row, make_run, tmp_path):
    run = make_run({"site-1": 1}, size=64)
    plan = Plan(records=run.records, out=tmp_path / "out", attacks=[row.name])
    if row.name == "row_space":
        plan = dataclasses.replace(plan, attacks=["row_space:seconds=1000"])
    assert estimate_cost(plan).cpu_seconds == row.rate + 2.0


def test_an_estimate_counts_cases_and_writes_nothing(make_run, tmp_path):
    run = make_run({"site-1": 4, "site-2": 1}, rounds=(0, 1))
    plan = plan_of(run, tmp_path, seeds=[0, 1, 2])
    found = estimate_cost(plan, attacks=fake(half))
    assert (found.cases, found.kept) == (12, 0)
    assert found.seconds == found.cpu_seconds > 0
    assert found.measured == ()
    assert estimate_cost(plan, attacks=fake(half), jobs=4).seconds == pytest.approx(
        found.seconds / 4
    )
    assert "12 cases, 0 done" in str(found)
    assert "by stated rates" in str(found)
    assert not plan.out.exists()


def test_no_number_of_workers_is_faster_than_the_longest_case(make_run, tmp_path):
    plan = plan_of(make_run({"site-1": 9, "site-2": 1}), tmp_path)
    found = estimate_cost(plan, attacks=fake(half), jobs=128)
    assert found.on(1) == found.cpu_seconds
    assert found.on(128) == found.seconds == found.longest > found.cpu_seconds / 2


def test_more_images_take_longer_and_a_limit_of_the_attack_bounds_it(make_run, tmp_path):
    one = plan_of(make_run({"site-1": 1}, name="one"), tmp_path)
    many = plan_of(make_run({"site-1": 8}, name="many"), tmp_path)
    assert (
        estimate_cost(many, attacks=fake(half)).cpu_seconds
        > estimate_cost(one, attacks=fake(half)).cpu_seconds
    )
    free = Plan(records=many.records, out=many.out)
    bounded = dataclasses.replace(free, attacks=["row_space:seconds=2"])
    assert estimate_cost(bounded).cpu_seconds == 4.0  # and two seconds for what is round the attack
    assert estimate_cost(free).cpu_seconds > 4.0


def test_joining_rounds_takes_as_much_longer_as_there_are_rounds(make_run, tmp_path):
    run = make_run({"site-1": 1}, rounds=(0, 1, 2, 3))
    kind = fake(half)["fake"]()
    table = {"fake": lambda: dataclasses.replace(kind, run_average=kind.run)}
    one = plan_of(run, tmp_path, rounds=[3])
    joined = dataclasses.replace(one, attacks=["average/fake"])
    apart = estimate_cost(one, attacks=table).cpu_seconds - 2.0
    assert estimate_cost(joined, attacks=table).cpu_seconds - 2.0 == pytest.approx(4 * apart)


def test_what_was_measured_takes_the_place_of_the_stated_rate(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 2})
    plan = plan_of(run, tmp_path)
    outcomes(dataclasses.replace(plan, sites=["site-1"]), fake(half))
    found = estimate_cost(plan, attacks=fake(half))
    assert (found.cases, found.kept, found.measured) == (2, 1, ("fake",))
    # A quarter of a second on one image, so half a second on two, and two for the rest.
    assert found.cpu_seconds == pytest.approx(2.5, rel=1e-3)
    assert "as measured here" in str(found)


def test_an_audit_larger_than_the_disk_is_refused_and_writes_nothing(
    make_run, tmp_path, monkeypatch
):
    run = make_run({"site-1": 2})
    plan = plan_of(run, tmp_path, seeds=[0, 1])
    monkeypatch.setattr(estimate, "free_disk", lambda out: 10_000)
    with pytest.raises(ValueError, match=r"2 cases that are left would take up to .* 10 kB free"):
        outcomes(plan, fake(half))
    assert not plan.out.exists()
    monkeypatch.undo()
    before = estimate_cost(plan, attacks=fake(half))
    outcomes(plan, fake(half))
    used = sum(f.stat().st_size for f in plan.out.glob("**/*") if f.is_file())
    assert 0.05 * before.bytes < used < before.bytes


def test_free_disk_of_a_place_that_is_not_there_yet_is_that_of_the_nearest_folder(tmp_path):
    assert estimate.free_disk(tmp_path / "not" / "yet") > 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (45, "45 s"), (720, "12 min"), (3.5 * 3600, "3.5 h"), (180000, "2.1 days")],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 kB"), (12_000, "12 kB"), (3.4e6, "3.4 MB"), (21e9, "21 GB")]
)
def test_sizes_read_well(n, text):
    assert size(n) == text


def test_a_plan_on_a_damaged_sidecar_can_still_be_estimated(make_run, tmp_path):
    run = make_run({"site-1": 1})
    (run.records / "round_0000" / "site-1.json").write_text("{")
    assert estimate_cost(plan_of(run, tmp_path), attacks=fake(half)).cases == 1


def test_pictures_of_the_attack_on_its_way_take_disk_too(make_run, tmp_path):
    plan = plan_of(make_run({"site-1": 2}), tmp_path)
    kept = dataclasses.replace(plan, keep_iterations=100)
    more = (
        estimate_cost(kept, attacks=fake(half)).bytes
        - estimate_cost(plan, attacks=fake(half)).bytes
    )
    assert more >= 100 * 2 * 16 * 16
