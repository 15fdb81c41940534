"""Tests of the tables of MedPFL on a folder."""

import re

import pytest
from tests.inversion.reproduce.reports import links

from medleak.inversion.reproduce import medpfl

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_medpfl_on_a_folder_ends_in_a_report(place, films):
    report = medpfl.reproduce(place, [films], None)
    text = report.read_text()
    for number in ("Table II", "Table III", "Table IV", "Table V", "Fig. 5-7", "Fig. 10, 11"):
        assert f"## {number}:" in text
    assert "scale 1/L" in text, "the paper's noise level is said in both ways"
    assert all(f"`{d}`" in text for d in (medpfl.noise_of(100), *medpfl.OTHER_DEFENCES))
    assert all(p.is_file() for p in links(report))
    assert re.search(r"\| original \| \d\.\d\d", text.replace("`", "")), "Table V is measured"
    assert "0.9815" not in text, "a set that is none of the paper's has no published numbers"
