"""Audits with their evidence, and keys to sign it by."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.inversion.report.directories import grid

from medleak.inversion.report.dossier.contents import EVIDENCE, SIGNATURE
from medleak.inversion.report.dossier.make import as_bytes, evidence
from medleak.inversion.report.dossier.signing import sign
from medleak.inversion.report.html.page import render
from medleak.inversion.report.reading import read_audit


def written(folder: Path, report: Path | None = None, key: Ed25519PrivateKey | None = None) -> Path:
    """Report and evidence of the audit in ``folder``, signed where there is a key."""
    audit = read_audit(folder)
    made = render([audit])
    target = report or folder / "report.html"
    target.write_bytes(made.html)
    content = as_bytes(evidence(audit, made.verdicts, made.validity, target))
    (folder / EVIDENCE).write_bytes(content)
    if key is not None:
        (folder / SIGNATURE).write_bytes(sign(content, key))
    return folder


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def signed(directory, key) -> Path:
    return written(directory.write(grid(["site-1"], rounds=1, leak={"site-1": 0.97})), key=key)


def private_file(
    path: Path, key: Ed25519PrivateKey, *, openssh: bool = False, passphrase: bytes | None = None
) -> Path:
    form = forms.PrivateFormat.OpenSSH if openssh else forms.PrivateFormat.PKCS8
    how = forms.NoEncryption() if passphrase is None else forms.BestAvailableEncryption(passphrase)
    path.write_bytes(key.private_bytes(forms.Encoding.PEM, form, how))
    path.chmod(0o600)
    return path


def public_file(path: Path, key: Ed25519PrivateKey, *, openssh: bool = True) -> Path:
    encoding = forms.Encoding.OpenSSH if openssh else forms.Encoding.PEM
    form = forms.PublicFormat.OpenSSH if openssh else forms.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_key().public_bytes(encoding, form))
    return path
