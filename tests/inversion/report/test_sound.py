"""Tests of medleak.inversion.report.sound: files that a stranger may have written."""

import os

import pytest

from medleak.inversion.report.sound import as_written, read_json


def test_a_file_that_is_missing_is_none_and_a_sound_one_its_content(tmp_path):
    path = tmp_path / "summary.json"
    assert read_json(path) is None
    path.write_text('{"a": [1, 0.5, null, "é"]}')
    assert read_json(path) == {"a": [1, 0.5, None, "é"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "Expecting"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a": [1, {"b": ' + b"9" * 400 + b"}]}", "a number of 400 digits"),
        (b'{"a": [1, {"b": 1e200}]}', r"field 'a\[1\]\.b'"),
        (b'{"a": {"b": "\\ud83c"}}', r"field 'a\.b'"),
        (b'{"a": {"\\ud83c": 1}}', "half a character"),
    ],
)
def test_what_no_audit_holds_is_refused_with_file_and_field(tmp_path, content, message):
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"summary\.json is damaged .*{message}"):
        read_json(path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero")])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, make):
    path = tmp_path / "summary.json"
    make(path)
    with pytest.raises(ValueError, match="plain file"):
        read_json(path)


@pytest.mark.parametrize("error", [OverflowError("x"), AttributeError("x"), KeyError("x")])
def test_what_nobody_thought_of_is_one_line_that_names_the_folder(tmp_path, error):
    with pytest.raises(ValueError, match=type(error).__name__) as caught, as_written([tmp_path]):
        raise error
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
