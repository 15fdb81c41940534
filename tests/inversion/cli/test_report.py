"""``medleak report`` and ``serve`` as a user runs them."""

import base64
import json
import os
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.inversion.report.directories import REACHED, a_figure, a_group, grid
from tests.inversion.report.dossier.dossiers import private_file, public_file
from typer.testing import CliRunner

from medleak.inversion.cli import report as cli_report
from medleak.inversion.cli.app import app

pytestmark = pytest.mark.slow

INCONCLUSIVE = "inconclusive: too few images (row_space)"
NOT_IDENTIFIED = "found, not identified: by its own losses (row_space)"


def medleak(*args, answer=None):
    arguments = [str(a) for a in args]
    return CliRunner().invoke(app, arguments, input=answer, env={"COLUMNS": "200"})


@pytest.fixture
def audit(directory):
    return directory.write(grid(["site-1"], rounds=1))


@pytest.fixture
def asked(monkeypatch):
    """As on a terminal, where a person can answer."""

    class Terminal:
        def isatty(self):
            return True

    class System:
        stdin = stderr = Terminal()

    monkeypatch.setattr(cli_report, "sys", System)


def has_originals(path, audit):
    truth = next((audit / "images").glob("truth_*.png")).read_bytes()
    return base64.b64encode(truth) in Path(path).read_bytes()


def test_it_says_what_it_found_and_where_the_file_is(audit):
    result = medleak("report", audit, "--redact")
    assert result.exit_code == 0
    assert "site-1: leaks; the image came back almost whole" in result.stdout
    assert str(audit / "report.html") in result.stdout
    assert (audit / "report.html").read_bytes().startswith(b"<!doctype html>")


def test_where_nobody_can_answer_originals_are_left_out_and_that_is_said(audit, tmp_path):
    out = tmp_path / "r.html"
    result = medleak("report", audit, "-o", out)
    assert result.exit_code == 0
    assert "original images were left out, as nobody was asked" in result.stderr
    assert not has_originals(out, audit)


@pytest.mark.parametrize(
    ("answer", "inside"), [("\n", False), ("redacted\n", False), ("hidden\n", True)]
)
@pytest.mark.usefixtures("asked")
def test_on_a_terminal_it_asks_in_words(audit, tmp_path, answer, inside):
    out = tmp_path / "r.html"
    result = medleak("report", audit, "-o", out, answer=answer)
    assert result.exit_code == 0
    assert "may be patients'" in result.stderr
    assert has_originals(out, audit) is inside


@pytest.mark.usefixtures("asked")
def test_an_answer_that_is_none_of_them_makes_no_file(audit, tmp_path):
    result = medleak("report", audit, "-o", tmp_path / "r.html", answer="yes\n")
    assert result.exit_code == 2
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("choice", ["hidden", "shown"])
def test_originals_go_in_where_that_was_chosen(audit, tmp_path, choice):
    out = tmp_path / "r.html"
    assert medleak("report", audit, "-o", out, "--originals", choice).exit_code == 0
    assert has_originals(out, audit)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--originals", "maybe"], "'maybe' is unknown; choose hidden, shown, redacted"),
        (["--redact", "--originals", "shown"], "contradict each other"),
        (["--redact", "--fail-if", "rdlv > 0"], "not of the form metric.field op number"),
        (["--redact", "--ledger", "nowhere"], "No privacy ledger at 'nowhere'"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(audit, options, words):
    result = medleak("report", audit, *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (audit / "report.html").exists()


def test_a_directory_that_is_no_audit_is_refused(tmp_path):
    result = medleak("report", tmp_path, "--redact")
    assert result.exit_code == 2
    assert "is no audit directory" in result.stderr


def test_a_damaged_file_is_named(audit):
    (audit / "summary.json").write_text("{")
    result = medleak("report", audit, "--redact")
    assert result.exit_code == 2
    assert "summary.json is damaged" in result.stderr


def test_the_gate_names_the_sites_and_exits_with_3_after_writing_the_report(audit):
    result = medleak("report", audit, "--redact", "--fail-if", "ssim.max > 0.9")
    assert result.exit_code == 3
    assert "medleak: site-1: ssim.max > 0.9 (ssim.max = 0.922)" in result.stderr
    assert (audit / "report.html").exists()


def test_the_gate_lets_by_what_does_not_meet_it(directory):
    folder = directory.write([], [a_group("site-1", rdlv=a_figure(-0.5))], health=REACHED)
    assert medleak("report", folder, "--redact", "--fail-if", "rdlv.upper95 > 0").exit_code == 0


@pytest.mark.parametrize(
    ("group", "health", "light"),
    [
        ({"rdlv": a_figure(-0.5)}, {}, "not known"),  # not seen to work on an easy case
        ({"rdlv": a_figure(0.5), "verdict": INCONCLUSIVE}, REACHED, "may leak"),
        ({"rdlv": a_figure(-0.5), "verdict": INCONCLUSIVE}, REACHED, "not known"),
        ({"verdict": NOT_IDENTIFIED}, REACHED, "found, not identified"),
    ],
)
def test_what_neither_shows_a_leak_nor_excludes_one_is_no_success(directory, group, health, light):
    folder = directory.write([], [a_group("site-1", **group), a_group("site-2")], health=health)
    result = medleak("report", folder, "--redact", "--json")
    assert result.exit_code == 3
    assert (folder / "report.html").exists()
    said = f"whether 1 site leaks is neither shown nor excluded (site-1: {light})"
    assert json.loads(result.stdout)["undecided"] == [said]
    assert f"medleak: not known: {said}." in result.stderr


def test_an_audit_without_truth_fails_the_gate_with_its_reason(directory):
    folder = directory.write([], [a_group("site-1", ssim=None, rdlv=None)])
    result = medleak("report", folder, "--redact", "--fail-if", "rdlv.upper95 > 0")
    assert result.exit_code == 3
    assert "undefined: rdlv.upper95, as there is no original to compare with" in result.stderr


def test_json_alone_is_on_standard_output(directory):
    folder = directory.write([], [a_group("site-1")])
    result = medleak("report", folder, "--redact", "--fail-if", "rdlv.upper95 > 0", "--json")
    assert result.exit_code == 3
    content = json.loads(result.stdout)
    assert content["sites"] == [
        {"site": "site-1", "light": "leaks", "why": "images come back closer than a guess"}
    ]
    assert content["fail_if"]["failed"] is True
    assert content["fail_if"]["failures"][0]["site"] == "site-1"
    assert content["bytes"] == (folder / "report.html").stat().st_size


def test_with_two_audits_file_and_gate_are_of_the_second(directory, another):
    before = directory.write([], [a_group("site-1")])
    after = another.write([], [a_group("site-1", rdlv=a_figure(-0.5))], health=REACHED)
    result = medleak("report", before, after, "--redact", "--fail-if", "rdlv.upper95 > 0")
    assert result.exit_code == 0, result.output
    assert b"Before and after" in (after / "report.html").read_bytes()
    assert not (before / "report.html").exists()


@pytest.fixture
def keys(tmp_path):
    key = Ed25519PrivateKey.generate()
    private = private_file(tmp_path / "key.pem", key, openssh=True)
    return private, public_file(tmp_path / "key.pub", key)


def test_evidence_stands_beside_the_report_and_what_is_signed_can_be_verified(audit, keys):
    private, public = keys
    made = medleak("report", audit, "--redact", "--sign", private)
    assert made.exit_code == 0, made.output
    assert "evidence.json (signed)" in made.output
    assert medleak("report", "--verify", audit, "--public-key", public).exit_code == 0
    assert medleak("report", "--verify", audit).exit_code == 3
    with (audit / "results.csv").open("a") as file:
        file.write(" ")
    changed = medleak("report", "--verify", audit, "--public-key", public)
    assert changed.exit_code == 1
    assert "changed: results.csv was changed." in changed.stderr
    secret = private.read_text().splitlines()[3]
    assert not [p for p in audit.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]


def test_a_report_elsewhere_leaves_the_audit_directory_alone(audit, tmp_path):
    assert medleak("report", audit, "--redact", "-o", tmp_path / "r.html").exit_code == 0
    assert not (audit / "evidence.json").exists()


def test_a_signed_directory_gets_no_other_report_by_the_way(audit, keys):
    assert medleak("report", audit, "--redact", "--sign", keys[0]).exit_code == 0
    before = (audit / "report.html").read_bytes()
    again = medleak("report", audit, "--redact")
    assert again.exit_code == 2
    assert "is signed, and a new report in it" in again.stderr
    assert (audit / "report.html").read_bytes() == before


def test_a_report_of_older_figures_is_not_signed_with_newer_ones(audit, tmp_path, keys):
    assert medleak("report", audit, "--redact").exit_code == 0
    summary = (audit / "summary.json").stat().st_mtime_ns
    os.utime(audit / "report.html", ns=(summary - 1, summary - 1))
    sign = ("report", audit, "--redact", "--sign", keys[0])
    result = medleak(*sign, "-o", tmp_path / "r.html")
    assert result.exit_code == 2
    assert "is older than the figures" in result.stderr
    assert not (tmp_path / "r.html").exists()
    assert not (audit / "evidence.json.sig").exists()
    assert medleak(*sign).exit_code == 0
    assert medleak(*sign, "-o", tmp_path / "r.html").exit_code == 0


def test_a_key_that_is_none_is_found_before_anything_is_written(audit, tmp_path):
    (tmp_path / "k").write_text("no key")
    (tmp_path / "k").chmod(0o600)
    result = medleak("report", audit, "--redact", "--sign", tmp_path / "k")
    assert result.exit_code == 2
    assert "holds no private key" in result.stderr
    assert not (audit / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Name the directory of an audit"),
        (["AUDIT", "--verify", "AUDIT"], "--verify makes no report"),
        (["--verify", "AUDIT", "--fail-if", "rdlv.mean > 0"], "--verify makes no report"),
        (["--verify", "AUDIT", "--redact"], "--verify makes no report"),
        (["--verify", "AUDIT", "-o", "r.html"], "--verify makes no report"),
        (["AUDIT", "--public-key", "k.pub"], "whom --verify trusts"),
        (["--verify", "nowhere"], "Cannot use nowhere"),  # 1 would say that it was changed
        (["AUDIT", "--redact", "--sign", "nowhere"], "Cannot use nowhere"),
    ],
)
def test_what_does_not_go_together_is_said(audit, options, words):
    result = medleak("report", *(audit if o == "AUDIT" else o for o in options))
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_name_cannot_write_to_the_terminal(directory):
    folder = directory.write([], [a_group("\x1b[2Jsite")])
    result = medleak("report", folder, "--redact", "--fail-if", "rdlv.mean > 0")
    assert "\x1b" not in result.output


def test_both_commands_have_help_with_examples():
    for command in ("report", "serve"):
        result = medleak(command, "--help")
        assert result.exit_code == 0
        assert f"Examples: medleak {command}" in result.output


def test_the_wheel_has_the_templates_style_and_script(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(n).name for n in archive.namelist() if "/report/assets/" in n}
    folder = Path(cli_report.__file__).parents[1] / "report" / "assets"
    assert names == {path.name for path in folder.iterdir()}
    with zipfile.ZipFile(wheel) as archive:
        assert [n for n in archive.namelist() if n.endswith("/dossier/evidence.schema.json")]
    assert {"report.css", "report.js", "report.html.jinja"} <= names
