"""Three answers: as it was signed, changed, not known; and never the first for want of looking."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.inversion.report.directories import grid
from tests.inversion.report.dossier.dossiers import written

from medleak.inversion.report.dossier.verification import verify


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(bytes(content))


def test_what_was_signed_by_a_known_key_is_genuine(signed, key):
    found = verify(signed, [Ed25519PrivateKey.generate().public_key(), key.public_key()])
    assert found.state == "genuine"
    assert found.files == len(json.loads((signed / "evidence.json").read_text())["files"])
    assert found.signer.startswith("SHA256:")


@pytest.mark.parametrize("name", ["report.html", "results.csv", "summary.json", "config.json"])
@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_changed_byte_of_any_file_is_seen(signed, key, name, place):
    flip(signed / name, place)
    found = verify(signed, [key.public_key()])
    assert found.state == "changed"
    assert name in found.why[0]


def test_a_changed_byte_of_any_picture_is_seen(signed, key):
    picture = next((signed / "images").iterdir())
    flip(picture, 60)
    assert verify(signed, [key.public_key()]).state == "changed"


def test_a_changed_byte_anywhere_in_the_evidence_is_seen(signed, key):
    whole = (signed / "evidence.json").read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        flip(signed / "evidence.json", place)
        assert verify(signed, [key.public_key()]).state == "changed", place
        (signed / "evidence.json").write_bytes(whole)
    assert verify(signed, [key.public_key()]).state == "genuine"


def test_a_changed_byte_anywhere_in_the_signature_is_never_genuine(signed, key):
    whole = (signed / "evidence.json.sig").read_bytes()
    for place in range(0, len(whole), 7):
        flip(signed / "evidence.json.sig", place)
        found = verify(signed, [key.public_key()])
        # White space and the like may change without a change of meaning.
        same = json.loads(whole) == _parsed(signed / "evidence.json.sig")
        assert (found.state == "genuine") == same, place
        (signed / "evidence.json.sig").write_bytes(whole)


def _parsed(path):
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def test_no_signature_no_key_and_another_key_are_not_known(signed, key):
    for keys, why in (((), "no key was named"), ([_another()], "none of the keys")):
        found = verify(signed, keys)
        assert found.state == "not known"
        assert why in found.why[0]
        assert found.signer
    (signed / "evidence.json.sig").unlink()
    found = verify(signed, [key.public_key()])
    assert found.state == "not known"
    assert "not signed" in found.why[0]
    assert not found.signer


def _another():
    return Ed25519PrivateKey.generate().public_key()


def test_without_a_signature_a_difference_is_still_a_change(signed, key):
    (signed / "evidence.json.sig").unlink()
    flip(signed / "results.csv", 3)
    assert verify(signed, [key.public_key()]).state == "changed"


def test_signing_a_changed_audit_with_another_key_does_not_make_it_the_first_ones(signed, key):
    flip(signed / "results.csv", -2)
    written(signed, key=Ed25519PrivateKey.generate())
    assert verify(signed, [key.public_key()]).state == "not known"


def test_a_file_that_was_added_is_not_under_the_signature(signed, key):
    (signed / "calibration.json").write_text("{}")
    found = verify(signed, [key.public_key()])
    assert found.state == "not known"
    assert "calibration.json" in found.why[0]


def test_a_folder_that_cannot_be_listed_may_hold_anything(signed, key, unlisted):
    (signed / "more").mkdir()
    unlisted(signed / "more")
    found = verify(signed, [key.public_key()])
    assert found.state == "not known"
    assert "cannot be seen" in found.why[0]


def test_a_file_that_is_gone_is_a_change(signed, key):
    (signed / "summary.json").unlink()
    assert verify(signed, [key.public_key()]).state == "changed"


def test_one_file_is_verified_alone(signed, key):
    flip(signed / "results.csv", 3)
    known = [key.public_key()]
    assert verify(signed / "report.html", known).state == "genuine"
    assert verify(signed / "evidence.json", known).state == "genuine"
    assert verify(next((signed / "images").iterdir()), known).state == "genuine"
    assert verify(signed / "results.csv", known).state == "changed"
    (signed / "other.html").write_bytes((signed / "report.html").read_bytes())
    assert verify(signed / "other.html", known).state == "changed"


def test_a_report_made_elsewhere_is_known_by_its_content(directory, tmp_path, key):
    folder = directory.write(grid(["a"], rounds=1))
    written(folder, tmp_path / "mine.html", key)
    handed = tmp_path / "handed"
    handed.mkdir()
    for name in ("evidence.json", "evidence.json.sig"):
        (handed / name).write_bytes((folder / name).read_bytes())
    (handed / "renamed.html").write_bytes((tmp_path / "mine.html").read_bytes())
    assert verify(handed / "renamed.html", [key.public_key()]).state == "genuine"
    flip(handed / "renamed.html", 900)
    assert verify(handed / "renamed.html", [key.public_key()]).state == "changed"
    assert verify(folder, [key.public_key()]).state == "genuine"


def test_nothing_to_verify_is_not_known(tmp_path):
    (tmp_path / "report.html").write_text("x")
    for path in (tmp_path, tmp_path / "report.html"):
        found = verify(path)
        assert found.state == "not known"
        assert "nothing vouches for it" in found.why[0]
    with pytest.raises(OSError, match="No such file"):
        verify(tmp_path / "missing")
