import json
from types import SimpleNamespace

import pytest
import typer
from tests.inversion.report.directories import grid
from tests.inversion.report.dossier.dossiers import key, private_file, public_file, signed, written

from medleak.inversion.cli.shared import evidence

__all__ = ["key", "signed"]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda folder: None, 0, "of its files compared"),
        (lambda folder: (folder / "results.csv").write_text("x"), 1, "results.csv was changed"),
        (lambda folder: (folder / "evidence.json.sig").unlink(), 3, "not signed"),
    ],
)
def test_the_three_answers_have_three_exit_codes(
    signed, key, tmp_path, capsys, change, code, words
):
    change(signed)
    with pytest.raises(typer.Exit) as ended:
        evidence.verify_and_tell(signed, [public_file(tmp_path / "k.pub", key)], False)
    assert ended.value.exit_code == code
    said = capsys.readouterr()
    assert words in said.out + said.err


def test_json_has_the_answer(signed, capsys):
    with pytest.raises(typer.Exit):
        evidence.verify_and_tell(signed, [], True)
    assert json.loads(capsys.readouterr().out)["state"] == "not known"


def test_a_signed_directory_is_not_written_into_by_the_way(signed):
    with pytest.raises(ValueError, match="sign again"):
        evidence.require_unsigned(signed)
    (signed / "evidence.json.sig").unlink()
    evidence.require_unsigned(signed)


def test_a_private_key_in_what_is_handed_on_is_refused(directory, key):
    folder = directory.write(grid(["a"], rounds=1), pictures=False)
    path = private_file(folder / "key.pem", key)
    with pytest.raises(ValueError, match="Keep the private key elsewhere"):
        evidence.signing_key(folder, path)


def test_without_a_terminal_nobody_is_asked_for_a_passphrase(signed, key, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    path = private_file(tmp_path / "k.pem", key, passphrase=b"secret")
    with pytest.raises(ValueError, match="nobody is there to be asked"):
        evidence.signing_key(signed, path)


def test_evidence_without_a_key_leaves_no_older_signature(signed):
    from medleak.inversion.report.html.page import render
    from medleak.inversion.report.reading import read_audit

    audit = read_audit(signed)
    evidence.write_evidence(audit, render([audit]), signed / "report.html", None)
    assert not (signed / "evidence.json.sig").exists()
    assert written(signed)
