"""Tests of medleak.inversion.audit.larger_steps: what a site would have sent of more images."""

import numpy as np
import pytest
import torch
from tests.inversion.audit.audits import fake, outcomes, plan_of

from medleak.custom.record import read_record
from medleak.inversion.audit.health import easy_record
from medleak.inversion.audit.larger_steps import chosen, made_anew, require_images, step_of
from medleak.inversion.images.truth import load_truth
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.results.case import Case


def case_of(defence, seed=0):
    return Case(0, "site-1", "fake", defence, Knowledge().describe(), seed)


def list_of(run, site):
    return run.root / site / "simulate_job" / "datalist.json"


def test_only_the_replay_of_a_minimum_asks_for_a_step():
    assert step_of(case_of("none")) is None
    assert step_of(case_of("withhold")) is None
    assert step_of(case_of("withhold+minimum_batch:step=3+noise_alone")) == 3


def test_images_are_drawn_by_the_seed_each_once(make_run):
    run = make_run({"site-1": 6})
    datalist = list_of(run, "site-1")
    draws = [chosen(case_of("minimum_batch:step=4", s), 0, "site-1", datalist) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert all(len({item.image for item in draw}) == 4 for draw in draws)


def test_more_images_than_there_are_are_refused_and_so_is_a_site_without_a_list(make_run):
    run = make_run({"site-1": 2})
    case = case_of("minimum_batch:step=4")
    with pytest.raises(ValueError, match="site-1 has 2"):
        chosen(case, 0, "site-1", list_of(run, "site-1"))
    with pytest.raises(ValueError, match="give --truth"):
        chosen(case, 0, "site-1", None)
    require_images(2, 2, "site-1")


def test_the_update_is_that_of_one_step_on_these_images(make_run):
    run = make_run({"site-1": 3})
    record = read_record(run.records, 0, "site-1")
    items = chosen(case_of("minimum_batch:step=3"), 0, "site-1", list_of(run, "site-1"))
    found = made_anew(record, items, ())
    info = found.info
    assert (info.n_images, info.batch_size, info.n_steps, info.local_epochs) == (3, 3, 1, 1)
    spec = record.manifest.known_input()
    images = load_truth(items, spec.spatial_size, spec.channels)
    whole = easy_record(record, images.images, images.labels)
    other = easy_record(record, images.images[:2], images.labels[:2])
    for name, value in found.update.items():
        np.testing.assert_array_equal(value, whole.update[name])
    assert any((value != other.update[name]).any() for name, value in found.update.items())


def test_a_loss_that_is_not_known_is_refused(make_run):
    run = make_run({"site-1": 2})
    record = read_record(run.records, 0, "site-1")
    items = chosen(case_of("minimum_batch:step=2"), 0, "site-1", list_of(run, "site-1"))
    manifest = record.manifest.model_copy(update={"task": None})
    unknown = type(record)(manifest, record.info, record.global_state, record.update)
    with pytest.raises(ValueError, match="the loss of this record is not known"):
        made_anew(unknown, items, ())


def test_the_attacker_of_a_larger_step_sees_so_many_images_and_their_labels(make_run, tmp_path):
    run = make_run({"site-1": 5})
    calls = []

    def answer(observation):
        calls.append(observation)
        return torch.zeros(observation.n_images, 1, 16, 16)

    plan = plan_of(
        run,
        tmp_path,
        defences=["minimum_batch:step=3"],
        knowledge=[Knowledge(labels="known")],
    )
    (done,) = outcomes(plan, fake(answer))
    assert calls[0].n_images == 3
    assert len(calls[0].labels) == 3
    assert len(done.rows) == 3
