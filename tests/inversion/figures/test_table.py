"""Tests of the table of all figures."""

from tests.inversion.figures.drawings import HOSTILE
from tests.inversion.figures.sweeps import row

from medleak.inversion.figures import (
    AuditData,
    table,
)


def test_a_hostile_name_cannot_break_the_markdown_table(make_audit, tmp_path):
    rows = [row(name, k) for k, name in enumerate(HOSTILE)]
    audit = AuditData.open(make_audit(rows))
    table(audit, tmp_path)
    body = (tmp_path / "table.md").read_text().split("\n\n")[0].splitlines()
    assert len(body) == 2 + len(HOSTILE)
    assert len({line.replace(r"\|", "").count("|") for line in body}) == 1
    assert not any("<script" in line or "\x1b" in line for line in body)


def test_the_table_has_an_interval_for_the_attack_success_rate(make_audit):
    out = make_audit([row(image=k, ssim=s) for k, s in enumerate((0.95, 0.95, 0.3, 0.2))])
    table(AuditData.open(out), out / "figures")
    assert "| 50% [15%, 85%] |" in (out / "figures" / "table.md").read_text()
