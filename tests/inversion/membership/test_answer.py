import numpy as np

from medleak.inversion.membership.answer import Assessed, rows_of
from medleak.inversion.membership.assessment import Scored

SCORED = Scored(
    scores=np.array([2.0, -0.123456789, 1.0]),
    nulls=np.zeros(3),
    null_patients=3,
    p=np.array([0.25, 1.0, 0.5]),
    patients={"Doe": 0.5, "Roe": 0.5},
)


def test_rows_number_patients_as_they_come_and_hold_no_name():
    rows = rows_of({"round": 1}, SCORED, ("Roe", "Doe", "Roe"), np.array([True, False, True]))
    assert [row["patient"] for row in rows] == [0, 1, 0]
    assert [row["member"] for row in rows] == [True, False, True]
    assert rows[1] == {
        "round": 1,
        "candidate": 1,
        "patient": 1,
        "value": -0.123457,
        "p": 1.0,
        "patient_p": 0.5,
        "member": False,
    }
    assert "oe" not in str(rows)


def test_where_nobody_said_who_was_in_no_row_does():
    rows = rows_of({}, SCORED, ("Roe", "Doe", "Roe"), None)
    assert {row["member"] for row in rows} == {None}


def test_an_update_that_was_not_examined_has_its_reason_and_no_figure():
    summary = Assessed(round=3, site="site-1", refused="it is damaged").summary()
    assert summary == {"round": 3, "site": "site-1", "refused": "it is damaged"}
