"""Tests of means with their intervals."""

import pytest
from tests.inversion.figures.sweeps import row

from medleak.inversion.figures.estimates import estimate


def test_rows_of_one_image_are_one_piece_of_evidence():
    rows = [row(image=k, seed=s, ssim=0.5 + 0.1 * k) for k in range(4) for s in range(50)]
    found = estimate(rows, "ssim")
    assert found is not None
    assert found.mean == pytest.approx(0.65)
    assert found.upper95 - found.lower95 > 0.1, "200 rows, but 4 images"
