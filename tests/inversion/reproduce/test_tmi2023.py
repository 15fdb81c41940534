"""Tests of the figures and tables of TMI 2023 on a small federation."""

from dataclasses import replace

import pytest
from tests.inversion.reproduce.reports import links, small_model

from medleak.inversion.reproduce import tmi2023
from medleak.inversion.reproduce.material import of_run, phantoms
from medleak.inversion.reproduce.tmi2023_entries import ABLATIONS
from medleak.inversion.results.rows import read_rows

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_tmi2023_on_phantoms_ends_in_a_report_and_goes_on_where_it_was(place, small_network):
    material = phantoms(place.out, "cxr", 3, 16)
    model = small_model(material, small_network)
    subject = tmi2023.small_federation(place, material, model)
    report = tmi2023.reproduce(place, subject)
    text = report.read_text()
    for number in ("Table II", "Fig. 3", "Fig. 4, 5", "Fig. 6a, b", "Fig. 6c, 7", "Fig. 8"):
        assert f"## {number}:" in text
    assert text.count("Published: ") == text.count("Here: ") == text.count("\n## ")
    assert "cxr_dpsgd" in text, "what cannot be had here, and what makes it"
    pictures = links(report)
    assert {p.stem for p in pictures} >= {"rounds", "attacks", "schedule", "rdlv", "ssim", "noise"}
    assert all(p.is_file() for p in pictures)
    for _, attack in ABLATIONS.values():
        assert f"`{attack}`" in text
    rows = read_rows(place.out / "federation" / "results.csv")
    bare = next(r for r in rows if r.site == "site-9" and r.round == 1 and r.defence == "none")
    assert bare.ssim is not None
    assert f"{bare.ssim:.2f}" in text
    table = place.out / "federation" / "results.csv"
    before, said = table.read_bytes(), []
    again = tmi2023.small_federation(place, material, model)
    attack = ["row_space:seconds=0.2"]
    replace(place, say=said.append).audit(
        "federation", again.run, prior=material.prior, attacks=attack
    )
    assert [line.rpartition(": ")[2] for line in said[1:]] == ["kept"] * 4
    assert sorted(table.read_bytes().splitlines()) == sorted(before.splitlines())
    _, _, state = of_run(place.out / "federation-run", None)
    assert state.keys() == model[1].keys()
