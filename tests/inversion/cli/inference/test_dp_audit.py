import json

import pytest
from tests.inversion.cli.commands import medleak, refused

from medleak.filters.defences.clipped_gaussian import ClippedGaussian
from medleak.filters.noise import add_gaussian

pytestmark = pytest.mark.usefixtures("here", "repeatable_noise")

CLIPPED = "clipped_gaussian:max_grad_norm=1,noise_multiplier=2"


@pytest.mark.parametrize(("claimed", "code"), [(0.5, 1), (4.0, 0), (60.0, 3), (None, 3)])
def test_counts_of_canaries_are_put_beside_a_claim(claimed, code):
    said = [] if claimed is None else ["--claimed", claimed]
    result = medleak("dp-audit", "canaries:planted=1000,guessed=500,right=480", *said)
    assert result.exit_code == code, result.output
    assert "ε is at least" in result.stdout


def test_a_claim_of_a_filter_is_its_own():
    result = medleak(
        "dp-audit", "clipped_gaussian:max_grad_norm=1,noise_multiplier=2", "--claimed", 1
    )
    assert "goes with counts of canaries" in refused(result, 2)


def test_the_bound_stands_beside_the_claim():
    result = medleak("dp-audit", CLIPPED, "--releases", 1000, "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert found["kind"] == "not refuted"
    bound = found["bounds"][0]
    assert bound["claimed"] == pytest.approx(4.377, abs=1e-3)
    assert 0 < bound["gaussian"] < bound["claimed"]


def test_a_mechanism_that_is_not_what_it_says_is_an_error(monkeypatch):
    def little(value, scale, source, **more):
        return add_gaussian(value, scale / 4, source, **more)

    monkeypatch.setattr(ClippedGaussian, "add", staticmethod(little))
    result = medleak("dp-audit", CLIPPED, "--releases", 200)
    assert result.exit_code == 1
    assert "REFUTED: the ledger claims ε = " in result.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((CLIPPED, "--task", "validate"), "not examined"),
        (("percentile_gaussian:sigma0=1",), "no ε is claimed"),
        (("clipped_gaussian:max_grad_norm=1,noise_multiplier=0.05",), "could not show more than"),
        (("clipped_laplace:max_grad_norm=1,noise_multiplier=0.2",), "could not show more than"),
        ((CLIPPED, "--delta", "0.999999"), "could not show more than"),
    ],
)
def test_what_was_not_put_to_the_test_is_not_known(arguments, why):
    result = medleak("dp-audit", *arguments, "--releases", 100)
    assert result.exit_code == 3
    assert why in result.output


def test_a_setting_twice_is_bad_input():
    assert "given twice" in refused(medleak("dp-audit", f"{CLIPPED},max_grad_norm=1e-30"), 2)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nothing_known",), "Unknown defence"),
        (("canaries:planted=9,guessed=5,right=5", "--releases", "200"), "--releases is of filters"),
        (("canaries:planted=9,guessed=5,right=5", "--task", "train"), "--task is of filters"),
        (("dp_sgd:noise_multiplier=1,sample_rate=0.1,steps=1", "--task", "x"), "--task is of"),
        (("startup-kit/site-1",), "Nor is 'startup-kit/site-1' a folder here, as a run or a site"),
        (("clipped_gaussian:max_grad_norm=1",), "noise_multiplier"),
        ((CLIPPED, "--delta", "1"), "between 0 and 1"),
        ((CLIPPED, "--confidence", "0.2"), "confidence"),
    ],
)
def test_bad_input_is_one_line(arguments, why):
    assert why in refused(medleak("dp-audit", *arguments), 2)
