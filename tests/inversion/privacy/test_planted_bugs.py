"""Bugs that make ε untrue are planted in clip + noise, and found by trying it.

Those of DP-SGD are in tests/inversion/dp_audit/test_trainings.py.
"""

import numpy as np
import pytest

from medleak.filters.defences import additive
from medleak.filters.defences.clipped_gaussian import ClippedGaussian
from medleak.filters.doctor.neighbours import chain_of, releases
from medleak.filters.noise import NoiseSource, add_gaussian
from medleak.filters.privacy import accounting
from medleak.inversion.dp_audit.verdict import judge

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("repeatable_noise")]

DELTA = 1e-5
COUNT = 300
CLIPPED = "clipped_gaussian:max_grad_norm=1,noise_multiplier=2,buffers=noise"


def tried(text=CLIPPED, claim=None, count=COUNT):
    seen = releases(chain_of(text), count)
    return judge(seen.scores, seen.guarantee, relation=seen.relation, delta=DELTA, claim=claim)


def refuted(found):
    return [b.what for b in found.bounds if b.refuted]


def test_the_mechanism_as_it_is_is_not_refuted():
    found = tried(count=1500)
    assert found.kind == "not refuted", str(found)
    assert found.bounds[0].claimed == pytest.approx(4.377, abs=1e-3)
    assert found.bounds[0].epsilon > 4.377 / 2


def test_noise_halved_is_found(monkeypatch):
    def half(value, scale, source, **more):
        return add_gaussian(value, scale / 2, source, **more)

    monkeypatch.setattr(ClippedGaussian, "add", staticmethod(half))
    assert "release" in refuted(tried())


def test_a_clip_that_is_too_wide_is_found(monkeypatch):
    clip = additive.clipping_factor
    monkeypatch.setattr(additive, "clipping_factor", lambda norm, bound: clip(norm, 2.5 * bound))
    assert "release" in refuted(tried())


def test_a_clip_that_is_skipped_is_found(monkeypatch):
    monkeypatch.setattr(additive, "clipping_factor", lambda norm, bound: 1.0)
    assert "release" in refuted(tried(count=100))


def test_noise_used_twice_is_found(monkeypatch):
    monkeypatch.setattr(NoiseSource, "secure", staticmethod(lambda: NoiseSource(bytes(32))))
    assert "repetition" in refuted(tried())


def test_noise_that_all_values_share_is_found(monkeypatch):
    def shared(value, scale, source, *, factor=1.0, name=""):
        one = float(np.sum(add_gaussian(np.zeros(1), scale, source, name=name)))
        return (np.asarray(value) * factor + one).astype(value.dtype)

    monkeypatch.setattr(ClippedGaussian, "add", staticmethod(shared))
    assert "release" in refuted(tried())


def test_buffers_that_leave_bare_are_found(monkeypatch):
    protect = additive.protect_entries

    def bare(update, step, **more):
        kept = {n: v for n, v in update.items() if n.endswith(("running_mean", "running_var"))}
        return protect(update, step, **more) | kept

    monkeypatch.setattr(additive, "protect_entries", bare)
    assert "statistics" in refuted(tried())


@pytest.mark.parametrize("name", ["fc.bias", "fc.weight"])
def test_an_entry_that_leaves_bare_is_found_however_few_values_it_has(monkeypatch, name):
    protect = additive.protect_entries
    monkeypatch.setattr(
        additive,
        "protect_entries",
        lambda update, step, **more: protect(update, step, **more) | {name: update[name]},
    )
    assert "entry" in refuted(tried())


def test_a_delta_that_is_ignored_is_found():
    # ε computed as if it might fail in half of all cases.
    assert refuted(tried(claim=lambda events, delta: accounting.epsilon(events, 0.5)))
