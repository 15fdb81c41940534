"""Tests of the one picture of the first page."""

import pytest
from tests.inversion.report.directories import grid

from medleak.inversion.report.html.album import Album
from medleak.inversion.report.html.telling import telling
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.verdicts import site_verdicts


@pytest.mark.parametrize("worst", ["a", "b"])
def test_it_is_the_closest_picture_of_the_site_that_leaks_most(directory, worst):
    leak = {"a": 0.2, "b": 0.2} | {worst: 0.97}
    audit = read_audit(directory.write(grid(["a", "b"], images=2, leak=leak)))
    album = Album(10**7)
    found = telling(audit, site_verdicts(audit), album, "shown")
    assert found is not None
    assert found.row.site == worst
    assert found.row.ssim == max(r.ssim or 0 for r in audit.rows if r.site == worst)
    assert None not in (found.prior, found.original)


def test_a_redacted_original_is_not_shown(directory):
    audit = read_audit(directory.write(grid(["a"])))
    found = telling(audit, site_verdicts(audit), Album(10**7), "redacted")
    assert found is not None
    assert found.original is None


def test_without_any_picture_there_is_none(directory):
    audit = read_audit(directory.write(grid(["a"]), pictures=False))
    assert telling(audit, site_verdicts(audit), Album(10**7), "shown") is None
