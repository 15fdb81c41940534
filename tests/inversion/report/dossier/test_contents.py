import hashlib
import os

import pytest

from medleak.inversion.report.dossier.contents import changed, file_of, files_of, names_below
from medleak.inversion.report.dossier.record import File


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "audit"
    (inside / "images").mkdir(parents=True)
    (inside / "b.csv").write_text("b")
    (inside / "images" / "a.png").write_bytes(b"picture")
    (inside / "evidence.json").write_text("{}")
    (inside / "evidence.json.sig").write_text("{}")
    return inside


def test_every_file_is_listed_with_its_hash_but_the_evidence_itself(folder):
    found = files_of(folder)
    assert [f.name for f in found] == ["b.csv", "images/a.png"]
    assert found[1].sha256 == hashlib.sha256(b"picture").hexdigest()
    assert found[1].bytes == 7
    assert changed(folder, found) == []


def test_evidence_of_another_folder_below_is_a_file_like_others(folder):
    (folder / "images" / "evidence.json").write_text("{}")
    assert "images/evidence.json" in set(names_below(folder))


def test_what_is_a_link_cannot_be_vouched_for(folder, tmp_path):
    (tmp_path / "else").mkdir()
    (folder / "linked").symlink_to(tmp_path / "else", target_is_directory=True)
    with pytest.raises(ValueError, match="link to another folder"):
        files_of(folder)
    (folder / "linked").unlink()
    (folder / "linked.csv").symlink_to(tmp_path / "else.csv")
    with pytest.raises(OSError, match="link"):
        files_of(folder)


def test_a_folder_that_cannot_be_listed_is_not_passed_over(folder, unlisted):
    unlisted(folder / "images")
    with pytest.raises(PermissionError, match="images"):
        files_of(folder)


def test_a_byte_a_size_and_a_missing_file_are_seen(folder):
    listed = files_of(folder)
    (folder / "b.csv").write_text("c")
    assert changed(folder, listed) == ["b.csv was changed"]
    (folder / "b.csv").unlink()
    (missing,) = changed(folder, listed)
    assert missing.startswith("b.csv cannot be read")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "images/../../secret", "out/secret"]
)
def test_names_that_lead_elsewhere_are_never_followed(folder, tmp_path, name):
    (tmp_path / "secret").write_text("s")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "secret").write_text("s")
    (folder / "out").symlink_to(tmp_path / "far", target_is_directory=True)
    real = File(name=name, bytes=1, sha256=hashlib.sha256(b"s").hexdigest())
    (why,) = changed(folder, [real])
    assert "no name of a file in the folder" in why


@pytest.mark.skipif(os.name != "posix", reason="FIFOs are of POSIX")
def test_a_pipe_in_the_place_of_a_file_does_not_hang(folder):
    listed = files_of(folder)
    (folder / "b.csv").unlink()
    os.mkfifo(folder / "b.csv")
    (why,) = changed(folder, listed)
    assert "cannot be read" in why
    with pytest.raises(OSError, match="plain"):
        file_of(folder, "b.csv")
