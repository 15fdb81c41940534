"""Tests of medleak.inversion.audit.replay: the sum that a server sees, and noise alone."""

import dataclasses

import numpy as np
import pytest
import torch
from tests.inversion.audit.audits import NOISY, fake, outcomes, plan_of

from medleak.custom.record import read_record, write_record
from medleak.inversion.audit.replay import replayed, summed, summed_sites
from medleak.inversion.observation import Knowledge
from medleak.inversion.results.case import Case

pytestmark = pytest.mark.slow

SITES = {"site-1": 1, "site-2": 3, "site-9": 2}


def case_of(defence, seed=0, site="site-1"):
    return Case(0, site, "fake", defence, "all", seed)


def given(run, case, sites=None):
    sites = sites or summed_sites(run.records, case, case.round)
    return replayed(case, 0, sites, lambda site: read_record(run.records, 0, site))


def test_the_sum_is_the_mean_by_images_and_the_schedule_that_of_one_client(make_run):
    run = make_run(SITES)
    records = [read_record(run.records, 0, site) for site in SITES]
    record = given(run, case_of("secure_aggregation:sites=3"))
    for name, value in record.update.items():
        if "tracked" in name:
            assert value == records[0].update[name]
            continue
        whole = sum(r.update[name].astype(np.float64) * (r.info.n_images or 0) for r in records)
        np.testing.assert_allclose(value, whole / 6, rtol=1e-5, atol=1e-9)
        assert value.dtype == records[0].update[name].dtype
    info = record.info
    assert (info.n_images, info.batch_size, info.n_steps, info.lr) == (6, 6, 1, 0.01)


def test_the_company_is_drawn_by_the_seed_and_always_has_the_site_itself(make_run):
    run = make_run(SITES)
    text = "secure_aggregation:sites=2"
    drawn = {tuple(summed_sites(run.records, case_of(text, seed), 0)) for seed in range(20)}
    assert drawn == {("site-1", "site-2"), ("site-1", "site-9")}
    assert summed_sites(run.records, case_of("none"), 0) == ["site-1"]
    with pytest.raises(ValueError, match="3 sent an update"):
        summed_sites(run.records, case_of("secure_aggregation:sites=4"), 0)


def test_what_one_site_does_not_say_the_sum_does_not_either(make_run):
    run = make_run(SITES)
    records = [read_record(run.records, 0, site) for site in SITES]
    unknown = records[1].info.model_copy(update={"n_images": None, "lr": 0.5})
    records[1] = dataclasses.replace(records[1], info=unknown)
    info = summed(records).info
    assert (info.n_images, info.batch_size, info.lr, info.n_steps) == (None, None, None, 1)


def test_a_layer_that_a_site_left_out_counts_as_no_change(make_run):
    run = make_run({"site-1": 2, "site-2": 2})
    first, second = (read_record(run.records, 0, site) for site in ("site-1", "site-2"))
    name = next(n for n in first.update if n.endswith("conv1.weight"))
    kept = {n: v for n, v in second.update.items() if n != name}
    sent = summed([first, dataclasses.replace(second, update=kept)])
    np.testing.assert_allclose(sent.update[name], first.update[name] / 2, rtol=1e-6)


def test_each_site_defends_itself_before_the_sum_is_made(make_run):
    run = make_run(SITES)
    plain = given(run, case_of("secure_aggregation:sites=3"))
    noised = given(run, case_of(f"{NOISY}+secure_aggregation:sites=3"))
    name = next(n for n in plain.update if n.endswith("conv1.weight"))
    own = (
        given(run, case_of(NOISY)).update[name] - read_record(run.records, 0, "site-1").update[name]
    )
    spread = (noised.update[name] - plain.update[name]).std()
    assert 0 < spread < 3 * own.std()
    assert np.abs(noised.update[name] - plain.update[name]).max() > 0


def test_noise_alone_has_the_entries_and_nothing_of_their_places(make_run):
    run = make_run(SITES)
    record = read_record(run.records, 0, "site-2")
    alone = given(run, case_of("noise_alone", site="site-2"))
    again = given(run, case_of("noise_alone", site="site-2"))
    other = given(run, case_of("noise_alone", seed=1, site="site-2"))
    for name, value in record.update.items():
        np.testing.assert_array_equal(alone.update[name], again.update[name])
        if "running_var" in name:
            assert (record.global_state[name] + alone.update[name] > 0).all()
        elif "tracked" not in name and value.size > 20:
            shuffled, before = (np.sort(v.ravel()) for v in (alone.update[name], value))
            np.testing.assert_array_equal(shuffled, before)
            assert (alone.update[name] != value).any()
            assert (alone.update[name] != other.update[name]).any()
        elif "tracked" in name:
            np.testing.assert_array_equal(alone.update[name], value)


def test_the_attacker_of_a_sum_faces_all_images_and_is_measured_on_the_sites_own(
    make_run, tmp_path
):
    run = make_run({"site-1": 1, "site-2": 2})
    calls = []

    def answer(observation):
        calls.append(observation)
        images = [run.images(site, 16) for site in ("site-1", "site-2")]
        return torch.cat(images)[: observation.n_images]

    plan = plan_of(
        run,
        tmp_path,
        sites=["site-1"],
        defences=["secure_aggregation:sites=2"],
        knowledge=[Knowledge(labels="known")],
    )
    (done,) = outcomes(plan, fake(answer))
    assert calls[0].n_images == 3
    assert len(calls[0].labels) == 3
    measured = [row for row in done.rows if row.truth_image is not None]
    assert [round(row.ssim, 3) for row in measured] == [1.0]
    assert len(done.rows) == 3
    # Of the other site's sum the image would be no null, as it may be in there.
    assert all(row.ssim_other is None for row in done.rows)


def test_a_sum_over_more_sites_than_a_round_has_is_refused_before_anything_runs(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1})
    record = read_record(run.records, 0, "site-1")
    alone = record.info.model_copy(update={"round": 1, "sha256": None})
    write_record(run.records, alone, record.global_state, record.update)
    plan = plan_of(run, tmp_path, defences=["secure_aggregation:sites=2"])
    with pytest.raises(ValueError, match=r"1 sent an update in round 1"):
        outcomes(plan, fake(lambda _: torch.zeros(1, 1, 16, 16)))
    assert not plan.out.exists()
