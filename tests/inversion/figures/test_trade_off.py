"""Tests of what privacy costs."""

import json

from tests.inversion.figures.drawings import (
    UPDATE,
    accuracy_line,
    accuracy_lines,
    points,
)
from tests.inversion.figures.sweeps import sweep

from medleak.inversion.figures import (
    AuditData,
    draw,
)
from medleak.inversion.figures.table import lines


def test_the_front_joins_what_no_other_defence_beats(make_audit):
    out = make_audit(sweep(scopes=("update",)))
    worse = [*accuracy_lines((1, 10)), accuracy_line(UPDATE, 25, 0.95)]
    (out / "utility.json").write_text(json.dumps(worse))
    audit = AuditData.open(out)
    figure = draw("front", audit)
    (axes,) = figure.axes
    worst = {
        name: max(one.rdlv.upper95 for one in lines(audit) if one.protection == name and one.rdlv)
        for name in {one.protection for one in lines(audit)}
    }
    drawn = {x.get_label(): points(x)[0] for x in axes.get_lines()}
    assert drawn["none"] == (worst["none"], 0.93)
    assert points(axes.get_lines()[-1]) == [
        (worst["percentile_gaussian:sigma0=25,scope=update"], 0.95)
    ], "the strongest noise is the most accurate here, and so beats all others"
