import csv
import json

import pytest

from medleak.inversion.membership.files import (
    FILE,
    TABLE,
    Answer,
    read_answers,
    write_answers,
)
from medleak.inversion.results.case import Case

CASE = Case(2, "site-1", "membership/row_space", "none", "all, labels inferred", 0)
ANSWER = Answer(
    {"verdict": "leaks: …", "separation": None},
    [
        {"candidate": k, "patient": 0, "value": 0.5, "p": 0.1, "patient_p": 0.2, "member": member}
        for k, member in enumerate((True, False, None))
    ],
)


def test_what_is_written_is_read(tmp_path):
    write_answers(tmp_path, {CASE: ANSWER}, "the rule")
    ((case, answer),) = read_answers(tmp_path).items()
    assert case == CASE
    assert answer.summary == ANSWER.summary
    assert answer.candidates == ANSWER.candidates
    rows = list(csv.DictReader((tmp_path / TABLE).read_text().splitlines()))
    assert [row["member"] for row in rows] == ["True", "False", ""]
    assert {row["attack"] for row in rows} == {"membership/row_space"}
    assert json.loads((tmp_path / FILE).read_text())["rule"] == "the rule"


def test_nothing_asked_is_no_answer(tmp_path):
    assert read_answers(tmp_path) == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:40],
        lambda text: text.replace('"format_version": 1', '"format_version": 9'),
        lambda text: text.replace('"patient_p"', '"p_of_patient"'),
        lambda text: "[]",
    ],
)
def test_a_damaged_file_is_no_absence_of_answers(tmp_path, damage):
    write_answers(tmp_path, {CASE: ANSWER}, "the rule")
    path = tmp_path / FILE
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match="who was in could not be told"):
        read_answers(tmp_path)
