"""Tests of the annex: what an engineer needs to check the report."""

from tests.inversion.report.directories import grid

from medleak.inversion.report.html.annex import annex, epsilon_words
from medleak.inversion.report.reading import read_audit


def test_it_says_how_the_audit_came_about(directory):
    audit = read_audit(directory.write(grid(["a", "b"], rounds=2)))
    found = annex(audit)
    assert ("medleak", "0.1.0") in [tuple(v) for v in found.versions]
    assert [h[0] for h in found.hashes] == ["0/a", "1/a", "0/b", "1/b"]
    assert all(h[1:] == ("1" * 64, "2" * 64) for h in found.hashes)
    assert found.hashes_left_out == 0
    assert any("medleak audit" in c and "'here now'" in c for c in found.commands)


def test_each_attacker_is_a_line_of_the_threat_model(directory):
    audit = read_audit(directory.write(grid(["a"])))
    (threat,) = annex(audit).threats
    assert "row_space" in threat.attacker
    assert threat.knows


def test_a_damaged_config_leaves_an_annex_and_no_traceback(directory):
    odd = {"runs": "none", "updates": [1], "attacks": 7}
    audit = read_audit(directory.write(grid(["a"]), config=odd))
    assert annex(audit).hashes == []


def test_a_heuristic_has_no_epsilon_and_says_so():
    assert "none" in epsilon_words("percentile_gaussian:sigma0=10").lower()
