"""Tests of an audit directory as the figures read it."""

from dataclasses import replace

import pytest
from tests.inversion.figures.drawings import (
    text_of,
)
from tests.inversion.figures.sweeps import row, sweep

from medleak.inversion.figures import (
    AuditData,
    MissingData,
    draw,
)


def test_a_picture_that_is_gone_is_missing_data(make_audit):
    out = make_audit([row()])
    (out / "images" / "prior.png").unlink()
    with pytest.raises(MissingData, match=r"images/prior\.png"):
        draw("rounds", AuditData.open(out))


@pytest.mark.parametrize("escape", ["../secret.png", "/etc/hostname"])
def test_a_row_cannot_make_us_read_a_file_elsewhere(escape, make_audit, tmp_path):
    out = make_audit([row()])
    (tmp_path / "secret.png").write_bytes((out / "images" / "prior.png").read_bytes())
    with pytest.raises(MissingData):
        AuditData.open(out).picture(escape)


def test_of_several_attackers_the_one_who_got_most_is_drawn(make_audit):
    weak = [replace(r, attack="dlg", ssim=(r.ssim or 0) / 2) for r in sweep()]
    weak = [replace(r, picture=r.picture.replace(".png", "w.png")) for r in weak]
    audit = AuditData.open(make_audit([*weak, *sweep()]))
    assert {r.attack for r in audit.one_attacker().rows} == {"row_space"}
    assert "dlg" in text_of(draw("rdlv", audit.of("dlg", None)))
    with pytest.raises(ValueError, match="row_space"):
        audit.of("cpl", None)


def test_an_empty_audit_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"no results\.csv") as error:
        AuditData.open(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["{", '{"a": 1}', '[{"defence": "none"}]'])
def test_a_damaged_utility_json_is_refused_by_name(content, make_audit):
    out = make_audit([row()])
    (out / "utility.json").write_text(content)
    with pytest.raises(ValueError, match=r"utility\.json is damaged"):
        AuditData.open(out)
