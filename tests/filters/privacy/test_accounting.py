"""Tests of medleak.filters.privacy.accounting: ε against formulas, dp-accounting and Opacus."""

import math

import pytest
from dp_accounting.pld import PLDAccountant
from opacus.accountants import RDPAccountant
from scipy import optimize
from scipy.stats import norm

from medleak.filters.privacy import accounting
from medleak.filters.privacy.accounting import (
    dp_sgd,
    epsilon,
    gaussian,
    guarantee_of,
    noise_multiplier_for,
)
from medleak.filters.registry import DEFENCES, ROWS, defence


def exact_gaussian_epsilon(sigma, delta):
    """Balle & Wang 2018, arXiv:1805.06530v2, Theorem 8 (sensitivity 1), solved for ε."""

    def excess(eps):
        a, b = 1 / (2 * sigma), eps * sigma
        return norm.cdf(a - b) - math.exp(eps) * norm.cdf(-a - b) - delta

    return optimize.brentq(excess, 0, 200)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 5.0])
def test_one_gaussian_is_exact(sigma):
    assert epsilon([gaussian(sigma)], 1e-5) == pytest.approx(
        exact_gaussian_epsilon(sigma, 1e-5), 1e-6
    )


def test_gaussians_compose_by_their_inverse_squares():
    # 16 releases with noise multiplier 4 are one with 1.
    assert epsilon([gaussian(4.0)] * 16, 1e-5) == pytest.approx(epsilon([gaussian(1.0)], 1e-5))
    mixed = [gaussian(1.0), gaussian(2.0)]
    assert epsilon(mixed, 1e-5) == pytest.approx(
        exact_gaussian_epsilon(1 / math.sqrt(1.25), 1e-5), 1e-6
    )


def test_laplace_adds_up_and_never_exceeds_the_sum():
    one = {"event": "Laplace", "noise_multiplier": 2.0}
    assert epsilon([one], 1e-5) == pytest.approx(0.5, rel=1e-3)
    many = epsilon([one] * 100, 1e-5)
    assert many < 100 * 0.5
    accountant = PLDAccountant()
    accountant.compose(accounting.to_dp_event(one), 100)
    assert many >= accountant.get_epsilon(1e-5) - 1e-3


@pytest.mark.parametrize(
    ("noise_multiplier", "sample_rate", "steps"),
    [(1.1, 0.01, 1000), (2.0, 0.5, 40), (4.0, 1.0, 30)],
)
def test_dp_sgd_agrees_with_opacus(noise_multiplier, sample_rate, steps):
    guarantee = dp_sgd(noise_multiplier=noise_multiplier, sample_rate=sample_rate, steps=steps)
    opacus = RDPAccountant()
    opacus.history = [(noise_multiplier, sample_rate, steps)]
    ours, theirs = epsilon([guarantee.event], 1e-5), opacus.get_epsilon(delta=1e-5)
    assert (guarantee.unit, guarantee.relation) == ("record", "add_or_remove")
    if sample_rate < 1:
        assert ours == pytest.approx(theirs, rel=1e-2)
    else:  # no sampling: a Gaussian, for which we are exact and RDP is not
        assert theirs * 0.85 < ours <= theirs


def test_dp_sgd_agrees_with_the_privacy_loss_distribution():
    event = dp_sgd(noise_multiplier=1.1, sample_rate=0.01, steps=1000).event
    tight = PLDAccountant()
    tight.compose(accounting.to_dp_event(event))
    assert tight.get_epsilon(1e-5) <= epsilon([event], 1e-5) <= 1.2 * tight.get_epsilon(1e-5)


def test_events_add_up_in_any_grouping():
    step = dp_sgd(noise_multiplier=1.0, sample_rate=0.1, steps=10).event
    together = dp_sgd(noise_multiplier=1.0, sample_rate=0.1, steps=30).event
    nested = {"event": "Composed", "inner": [step, {"event": "NoOp"}, step, step]}
    assert epsilon([step] * 3, 1e-5) == pytest.approx(epsilon([together], 1e-5))
    assert epsilon([nested], 1e-5) == pytest.approx(epsilon([together], 1e-5))


def test_nothing_released_costs_nothing():
    assert epsilon([], 1e-5) == 0


def test_replacing_the_data_costs_twice_the_sensitivity():
    replace = guarantee_of(defence("clipped_gaussian:max_grad_norm=3,noise_multiplier=4"))
    zero = guarantee_of(
        defence("clipped_gaussian:max_grad_norm=3,noise_multiplier=4,relation=zero_out")
    )
    assert replace is not None
    assert zero is not None
    assert replace.event == gaussian(2.0)
    assert zero.event == gaussian(4.0)
    assert (replace.unit, replace.relation) == ("client", "replace")


def test_only_clipped_mechanisms_have_a_guarantee():
    with_one = {row.name for row in ROWS if guarantee_of(defence(row.example_text)) is not None}
    assert with_one == {row.name for row in ROWS if row.formal}
    assert with_one == {n for n in DEFENCES if n.startswith("clipped")}
    for name, args in {
        "percentile_gaussian": "sigma0=1000",
        "gaussian_perturbation": "scale=1000",
        "laplace_perturbation": "scale=1000",
        "top_k": "fraction=0.001",
        "random_k": "fraction=0.001",
        "quantisation": "bits=2",
    }.items():  # however strong it is
        assert guarantee_of(defence(f"{name}:{args}")) is None


def test_a_composition_has_the_guarantee_of_its_mechanism():
    mechanism = "clipped_gaussian:max_grad_norm=1,noise_multiplier=4"
    alone = guarantee_of(defence(mechanism))
    assert guarantee_of(defence(f"withhold+{mechanism}+quantisation:bits=8")) == alone
    assert guarantee_of(defence("withhold+sign")) is None


@pytest.mark.parametrize("mechanism", ["gaussian", "laplace"])
@pytest.mark.parametrize("relation", ["replace", "zero_out"])
def test_the_computed_noise_meets_the_target_and_is_the_least(mechanism, relation):
    z = noise_multiplier_for(
        mechanism, target_epsilon=8, target_delta=1e-5, rounds=50, relation=relation
    )

    def total(multiplier):
        spec = (
            f"clipped_{mechanism}:max_grad_norm=1,noise_multiplier={multiplier},relation={relation}"
        )
        guarantee = guarantee_of(defence(spec))
        assert guarantee is not None
        return epsilon([guarantee.event] * 50, 1e-5)

    assert total(z) <= 8
    assert total(z * 0.99) > 8


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"noise_multiplier": 0, "sample_rate": 0.1, "steps": 1}, "noise_multiplier"),
        ({"noise_multiplier": 1, "sample_rate": 0, "steps": 1}, "sample_rate"),
        ({"noise_multiplier": 1, "sample_rate": 1.1, "steps": 1}, "sample_rate"),
        ({"noise_multiplier": 1, "sample_rate": 0.1, "steps": 0}, "steps"),
        ({"noise_multiplier": 1, "sample_rate": 0.1, "steps": 2.5}, "steps"),
    ],
)
def test_dp_sgd_out_of_range_is_refused(args, message):
    with pytest.raises(ValueError, match=message):
        dp_sgd(**args)


@pytest.mark.parametrize("delta", [0, 1, -1e-5, float("nan")])
def test_a_delta_that_is_no_probability_is_refused(delta):
    with pytest.raises(ValueError, match="delta must be between 0 and 1"):
        epsilon([gaussian(1.0)], delta)


def test_an_unknown_event_is_refused_and_not_counted_as_nothing():
    with pytest.raises(ValueError, match="Unknown privacy event 'Magic'"):
        epsilon([{"event": "Magic"}], 1e-5)
