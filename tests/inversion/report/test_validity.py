import datetime

from tests.inversion.report.directories import a_group, grid, report_of

from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.validity import DUE, validity


def run(day, medleak="0.1.0"):
    return {"started": f"{day}T10:00:00+00:00", "versions": {"medleak": medleak}, "command": []}


def test_it_says_of_what_when_and_by_what_the_audit_is(directory):
    runs = [run("2026-03-02"), run("2026-01-01", "0.0.9"), run("2026-02-01")]
    folder = directory.write(grid(["a", "b"], rounds=2), pictures=False, config={"runs": runs})
    found = validity(read_audit(folder))
    assert list(found.made) == ["2026-01-01", "2026-03-02"]
    assert found.by == "0.1.0, 0.0.9"
    assert found.covers == "4 updates of a and b, rounds 0-1, as sent then"
    assert found.due == DUE
    assert found.repeat_by is None


def test_a_date_is_the_auditors_and_none_is_made_up(directory):
    folder = directory.write([], [a_group("a")], pictures=False)
    html = report_of(folder).html.decode()
    assert "No date for a repeat was set" in html
    day = datetime.date(2027, 6, 1)
    html = report_of(folder, repeat_by=day).html.decode()
    assert "To be repeated by 2027-06-01" in html


def test_what_was_not_recorded_is_not_made_up(directory):
    odd = {"runs": [{"started": "yesterday"}, 3], "updates": {"x/a": 1}}
    folder = directory.write([], [a_group("a")], pictures=False, config=odd)
    found = validity(read_audit(folder))
    assert not found.made
    assert not found.by
    assert found.covers == "updates of a"
    assert "When it was made is not recorded." in report_of(folder).html.decode()
