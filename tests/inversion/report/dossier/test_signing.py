import base64
import json
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.inversion.report.dossier.dossiers import private_file, public_file

from medleak.inversion.report.dossier.signing import (
    fingerprint,
    read_private_key,
    read_public_key,
    sign,
    signer,
)

CONTENT = b'{"format": "medleak evidence"}\n'


def nobody():
    raise AssertionError("a passphrase was asked for")


@pytest.mark.parametrize("openssh", [False, True])
def test_keys_are_read_in_pem_and_openssh_form(tmp_path, key, openssh):
    private = read_private_key(private_file(tmp_path / "k", key, openssh=openssh), nobody)
    public = read_public_key(public_file(tmp_path / "k.pub", key, openssh=openssh))
    assert fingerprint(signer(CONTENT, sign(CONTENT, private))) == fingerprint(public)


def test_nothing_of_the_private_key_is_in_the_signature(key):
    raw = key.private_bytes(forms.Encoding.Raw, forms.PrivateFormat.Raw, forms.NoEncryption())
    made = sign(CONTENT, key)
    assert base64.b64encode(raw).rstrip(b"=") not in made
    assert raw.hex().encode() not in made


@pytest.mark.parametrize("place", range(0, len(CONTENT), 7))
def test_a_changed_byte_of_the_content_is_seen(key, place):
    other = bytes(b ^ (k == place) for k, b in enumerate(CONTENT))
    with pytest.raises(ValueError, match="do not belong together"):
        signer(other, sign(CONTENT, key))


def test_a_changed_byte_of_the_signature_is_seen_wherever_it_tells_anything(key):
    made = json.loads(sign(CONTENT, key))
    other = json.loads(sign(CONTENT, Ed25519PrivateKey.generate()))
    for field in ("public_key", "fingerprint", "signature"):
        with pytest.raises(ValueError, match=r"changed|damaged"):
            signer(CONTENT, json.dumps(made | {field: other[field]}).encode())
    for wrong in (b"", b"{}", b"[]", json.dumps(made | {"algorithm": "none"}).encode()):
        with pytest.raises(ValueError, match="changed or damaged"):
            signer(CONTENT, wrong)


def test_a_passphrase_is_asked_for_and_a_wrong_one_refused(tmp_path, key):
    path = private_file(tmp_path / "k.pem", key, passphrase=b"open sesame")
    assert fingerprint(read_private_key(path, lambda: b"open sesame").public_key())
    with pytest.raises(ValueError, match="passphrase is another one"):
        read_private_key(path, lambda: b"open rice")


def test_a_key_that_others_can_read_is_refused(tmp_path, key):
    path = private_file(tmp_path / "k.pem", key)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="can be read by others"):
        read_private_key(path, nobody)


def test_another_kind_of_key_and_no_key_are_refused_with_how_to_make_one(tmp_path, key):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = other.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    for content, why in ((pem, "RSAPrivateKey"), (b"words", "no private key")):
        path = tmp_path / "k"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ValueError, match=f"(?s){why}.*ssh-keygen -t ed25519"):
            read_private_key(path, nobody)
    swapped = public_file(tmp_path / "k.pub", key)
    swapped.chmod(0o600)
    with pytest.raises(ValueError, match="is a public key"):
        read_private_key(swapped, nobody)


def test_a_private_key_in_the_place_of_a_public_one_is_refused(tmp_path, key):
    with pytest.raises(ValueError, match="is a private key"):
        read_public_key(private_file(tmp_path / "k", key))
    (tmp_path / "no.pub").write_text("ssh-rsa AAAA")
    with pytest.raises(ValueError, match="no public ed25519 key"):
        read_public_key(tmp_path / "no.pub")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")
def test_openssl_agrees(tmp_path, key):
    content, raw = tmp_path / "evidence.json", tmp_path / "raw"
    content.write_bytes(CONTENT)
    raw.write_bytes(base64.b64decode(json.loads(sign(CONTENT, key))["signature"]))
    public = public_file(tmp_path / "k.pub", key, openssh=False)
    verify = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(public)]
    done = subprocess.run(
        [*verify, "-in", str(content), "-sigfile", str(raw)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    content.write_bytes(CONTENT + b" ")
    again = subprocess.run(
        [*verify, "-in", str(content), "-sigfile", str(raw)], capture_output=True, check=False
    )
    assert again.returncode != 0


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not on this machine")
def test_keys_of_ssh_keygen_are_read_and_have_its_fingerprint(tmp_path):
    path = tmp_path / "id"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(make, check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], capture_output=True, check=True)
    public = read_public_key(path.with_suffix(".pub"))
    assert fingerprint(public) in shown.stdout.decode()
    assert fingerprint(read_private_key(path, nobody).public_key()) == fingerprint(public)
