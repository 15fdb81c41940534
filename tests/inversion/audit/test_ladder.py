"""Tests of medleak.inversion.audit.ladder: what an attacker must know for an image to leak."""

import dataclasses

import pytest
import torch

from medleak.inversion.audit.ladder import leak_by_rung, other_prior, rungs
from medleak.inversion.images.prior import load_prior
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.measures.similarity import ssim
from medleak.inversion.results.rows import Row

pytestmark = pytest.mark.slow


def row(knowledge, similarity, site="s", **changes):
    values = {
        "round": 0, "site": site, "attack": "a", "defence": "none", "declared": "none",
        "knowledge": knowledge.describe(), "seed": 0, "reconstruction": 0, "ssim": similarity,
        "rdlv": similarity, "seconds": 1.0, "iterations": 1, "attempts": 1, "stuck": False,
        "losses": "", "picture": "",
    }  # fmt: skip
    return Row(**{**values, **changes})


def test_the_ladder_goes_from_all_known_to_least_in_the_stated_order():
    assert [r.name.split()[0] for r in rungs()] == ["all", "batch-norm", "labels", "prior", "stale"]
    assert rungs()[0].knowledge == Knowledge(labels="known")
    assert rungs()[-1].knowledge == Knowledge(
        bn_statistics=False, labels="inferred", prior_image="other", model_round="previous"
    )
    for above, below in zip(rungs(), rungs()[1:], strict=False):
        fields = dataclasses.asdict(above.knowledge)
        changed = [k for k, v in dataclasses.asdict(below.knowledge).items() if fields[k] != v]
        assert len(changed) == 1


def test_one_at_a_time_each_rung_differs_from_the_top_in_one_thing():
    top = dataclasses.asdict(rungs()[0].knowledge)
    ladder = rungs(one_at_a_time=True)
    for rung in ladder[1:]:
        values = dataclasses.asdict(rung.knowledge)
        assert sum(values[k] != v for k, v in top.items()) == 1
    assert len({r.knowledge.describe() for r in (*ladder, *rungs())}) == 8


def test_the_fall_is_against_the_rung_above_or_against_all_known():
    values = (0.9, 0.8, 0.8, 0.3, 0.2)
    down = rungs()
    rows = [row(r.knowledge, v) for r, v in zip(down, values, strict=True)]
    found = leak_by_rung(rows, down, one_at_a_time=False)
    assert [s.ssim for s in found] == list(values)
    falls = [s.fall for s in found]
    assert falls[0] is None
    assert falls[1:] == pytest.approx([0.1, 0.0, 0.5, 0.1])
    each = rungs(one_at_a_time=True)
    rows = [row(r.knowledge, v) for r, v in zip(each, values, strict=True)]
    falls = [s.fall for s in leak_by_rung(rows, each, one_at_a_time=True)]
    assert falls[1:] == pytest.approx([0.1, 0.1, 0.6, 0.7])


def test_rungs_are_means_by_site_and_a_missing_one_is_left_open():
    down = rungs()[:3]
    rows = [
        row(down[0].knowledge, 0.9),
        row(down[0].knowledge, 0.7, seed=1),
        row(down[2].knowledge, 0.5),
        row(down[0].knowledge, None, site="t", rdlv=None),
    ]
    found = leak_by_rung(rows, down, one_at_a_time=False)
    assert [(s.site, s.n) for s in found] == [("s", 2), ("s", 0), ("s", 1)] + [("t", 0)] * 3
    assert found[0].ssim == pytest.approx(0.8)
    assert (found[1].ssim, found[1].fall) == (None, None)
    assert found[2].fall == pytest.approx(0.3)  # against the last rung that was measured
    assert found[3].ssim is None


@pytest.mark.parametrize(("prior", "channels"), [("phantoms", 1), ("gray", 3)])
def test_the_other_prior_is_another_image_of_the_same_shape(prior, channels):
    other = other_prior(prior, (20, 16), channels)
    assert other.shape == (1, channels, 20, 16)
    assert 0 <= float(other.min()) < float(other.max()) <= 1
    assert float(ssim(load_prior(prior, (20, 16), channels), other)) < 0.6
    assert torch.equal(other, other_prior(prior, (20, 16), channels))
