"""Tests of medleak.filters.registry."""

import pytest

from medleak.filters.defences.percentile_gaussian import PercentileGaussian
from medleak.filters.registry import build, declaration, defence


def test_a_defence_is_built_from_text():
    assert defence("percentile_gaussian:sigma0=10, scope=group") == PercentileGaussian(
        sigma0=10, scope="group"
    )


def test_a_declaration_builds_the_same_defence():
    used = PercentileGaussian(sigma0=0.5, buffers="drop")
    assert build(**declaration(used)) == used


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("percentile:sigma0=1", "Unknown defence 'percentile'; known are"),
        ("percentile_gaussian", "needs sigma0"),
        ("percentile_gaussian:sigma=1", "has no parameter 'sigma'; it takes sigma0, percentile"),
        ("percentile_gaussian:sigma0", "not of the form key=value"),
        ("percentile_gaussian:sigma0=ten", "sigma0 must be a finite number above 0, got 'ten'"),
        ("percentile_gaussian:sigma0=-1", "got -1"),
    ],
)
def test_a_spec_that_names_no_defence_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        defence(spec)
