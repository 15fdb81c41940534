import csv
import json
import stat

import pytest
from tests.inversion.cli.commands import medleak, refused
from tests.inversion.membership.federations import asked, patients

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def case(tmp_path):
    return asked(tmp_path)


def ask(case, *more, truth=True):
    lists = ["--candidates", case.candidates, "--nonmembers", case.nonmembers]
    return medleak(
        "membership", case.records, *lists, *(["--truth", case.truth] if truth else []), *more
    )


def test_it_says_who_was_in_and_writes_no_names(case, tmp_path):
    result = ask(case, "--out", tmp_path / "answers")
    assert result.exit_code == 3  # none of the candidates was at site-2
    assert "not known of 1 of 2 updates" in result.stderr
    assert "round 0, site-1: leaks: members are told from others: AUC" in result.output
    assert "null AUC" in result.output
    files = [tmp_path / "answers" / name for name in ("membership.csv", "membership.json")]
    names = patients(case.candidates) | patients(case.nonmembers)
    for text in (result.output, *(f.read_text() for f in files)):
        assert not [n for n in names if n in text]
        assert ".png" not in text
    assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in files)
    rows = list(csv.DictReader(files[0].read_text().splitlines()))
    assert len(rows) == 40
    assert [r["member"] for r in rows[:7]] == ["True"] * 6 + ["False"]
    content = json.loads(files[1].read_text())
    assert content["updates"][0]["separation"]["auc"]["value"] > 0.95
    assert content["candidates"][3]["candidate"] == 3


def test_it_ends_with_zero_where_each_update_has_an_answer(case):
    result = ask(case, "--site", "site-1", "--no-health")
    assert result.exit_code == 0, result.output
    assert "round 0, site-1: leaks" in result.stdout


def test_json_is_the_file_and_without_truth_nobody_is_called_a_member(case):
    result = ask(case, "--json", "--site", "site-1", truth=False)
    assert result.exit_code == 3
    assert "not known of 1 of 1 updates" in result.stderr
    content = json.loads(result.stdout)
    (update,) = content["updates"]
    assert update["separation"] is None
    assert update["null_recognised"] is None
    assert {row["member"] for row in content["candidates"]} == {None}


def test_an_update_that_cannot_be_examined_is_an_error_of_the_run(case):
    (case.records / "round_0000" / "site-1.safetensors").write_bytes(b"no")
    result = ask(case, "--no-health")
    assert result.exit_code == 1
    assert "1 of 2 updates could not be examined" in result.stderr
    assert "round 0, site-2" in result.stdout


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--score", "lira"), "Unknown membership score"),
        (("--site", "nobody"), "Site nobody is not in"),
        (("--candidates", "missing.json"), "missing.json"),
    ],
)
def test_bad_input_is_one_line(case, more, why):
    assert why in refused(ask(case, *more), 2)


def test_too_few_non_members_are_one_line(case):
    case.nonmembers.write_text(
        json.dumps({"training": json.loads(case.nonmembers.read_text())["training"][:9]})
    )
    assert "none can be below 0.05" in refused(ask(case), 2)


def test_a_record_without_updates_and_strays_in_it_are_not_known(case):
    (case.records / "round_0000" / "site-2.json").unlink()
    result = ask(case, "--no-health")
    assert result.exit_code == 3
    assert "no update of the record" in result.stderr
    (case.records / "round_0000" / "site-1.json").unlink()
    assert "nothing was examined" in refused(ask(case), 3)


def test_candidates_are_needed(case):
    assert medleak("membership", case.records).exit_code == 2


def test_in_an_audit_it_reaches_figure_report_and_gate(case, tmp_path):
    lists = ["--candidates", case.candidates, "--nonmembers", case.nonmembers]
    out = tmp_path / "audit"
    asked = ("audit", case.records, *lists, "--truth", case.truth, "--out", out)
    result = medleak(*asked, "--attack", "none", "--site", "site-1")
    assert result.exit_code == 0, result.output
    assert "round 0, site-1: leaks: members are told from others: AUC" in result.output
    drawn = medleak("figures", out, "--only", "roc")
    assert drawn.exit_code == 0, drawn.output
    assert (out / "figures" / "roc.png").stat().st_size > 10_000
    told = medleak("report", out, "--redact", "--fail-if", "membership.auc.upper95 > 0.6")
    assert told.exit_code == 3
    assert "membership.auc.upper95 = 1" in told.stderr
    text = (out / "report.html").read_text()
    assert not [n for n in patients(case.candidates) if n in text]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("audit", "--attack", "none"), "nothing would be examined"),
        (("audit", "--score", "row_space"), "name --candidates too"),
        (("calibrate", "--until", "membership"), "name --candidates"),
        (("calibrate", "--until", "never"), "choose images or membership"),
        (("calibrate", "--auc", "0.7"), "go with --until membership"),
        (("calibrate", "--candidates", "asked.json"), "go with --until membership"),
        (
            ("calibrate", "--until", "membership", "--candidates", "a.json", "--seconds", "3"),
            "no image is rebuilt",
        ),
        (
            ("calibrate", "--until", "membership", "--candidates", "a.json", "--auc", "0.4"),
            "largest AUC is 0.4",
        ),
    ],
)
def test_what_asks_of_nobody_or_of_another_question_is_refused(case, args, why):
    command, *options = args
    assert why in refused(medleak(command, case.records, *options), 2)
