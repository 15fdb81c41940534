"""Tests of what all figures share."""

from tests.inversion.figures.sweeps import sweep

from medleak.inversion.figures import (
    AuditData,
    draw,
)
from medleak.inversion.figures.style import label


def test_a_dollar_is_a_dollar_and_what_the_font_lacks_is_a_box():
    assert label("$x_{") == r"\$x_{"
    assert label("\U0001f3e5 a\nb\x07c") == "□ a b c"
    assert len(label("a" * 300)) <= 28
    assert not label("_hidden").startswith("_"), "legends would leave it out"


def test_matplotlibs_settings_are_as_before(make_audit):
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw("rdlv", AuditData.open(make_audit(sweep())))
    assert dict(matplotlib.rcParams) == before
