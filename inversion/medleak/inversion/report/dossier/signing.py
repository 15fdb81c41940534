"""Ed25519 over the bytes of evidence.json: keys in PEM or OpenSSH form, a signature beside it.

The signature is over the file as it is, so that `openssl pkeyutl -verify -rawin` can check it too.

Source: RFC 8032 (Ed25519); key forms: RFC 8410 (PEM), openssh's PROTOCOL.key.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from medleak.filters.storage import read_bounded

_LARGEST_KEY = 64_000  # bytes
_MAKE = "openssl genpkey -algorithm ed25519 -out key.pem, or ssh-keygen -t ed25519 -f key"


class Signature(BaseModel):
    """evidence.json.sig. ``public_key`` is in OpenSSH form; ``signature`` in base64."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["medleak signature"] = "medleak signature"
    format_version: Literal[1] = 1
    algorithm: Literal["ed25519"] = "ed25519"
    public_key: str
    fingerprint: str
    signature: str


def read_private_key(path: Path, passphrase: Callable[[], bytes]) -> Ed25519PrivateKey:
    """A private key.

    Args:
        path: PEM (PKCS 8) or OpenSSH form.
        passphrase: Asked for where the key is encrypted.

    Raises:
        ValueError: It is no such key, another kind of key, or others can read the file.
        OSError: It cannot be read.
    """
    content = read_bounded(path, _LARGEST_KEY)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ValueError(
            f"{path} can be read by others than its owner: whoever has it signs in your name. "
            f"chmod 600 {path}"
        )
    try:
        _private(content, None)
        secret = None
    except TypeError:  # it is encrypted
        secret = passphrase()
    except (ValueError, UnsupportedAlgorithm):  # as below
        secret = None
    try:
        key = _private(content, secret)
    except UnsupportedAlgorithm as error:
        raise ValueError(
            f"{path}: this form of an encrypted key needs another library ({error}). Give a PEM "
            "key (openssl), or install bcrypt."
        ) from None
    except (ValueError, TypeError) as error:
        if _is_public(content):
            raise ValueError(f"{path} is a public key; signing needs the private one.") from None
        raise ValueError(
            f"{path} holds no private key that can be read, or the passphrase is another one "
            f"({' '.join(str(error).split())[:120]}). Make one with {_MAKE}"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(
            f"{path} is a {type(key).__name__.lstrip('_')}: evidence is signed by ed25519 alone. "
            f"Make one with {_MAKE}"
        )
    return key


def _private(content: bytes, passphrase: bytes | None) -> object:
    if b"BEGIN OPENSSH PRIVATE KEY" in content:
        return forms.load_ssh_private_key(content, passphrase)
    return forms.load_pem_private_key(content, passphrase)


def read_public_key(path: Path) -> Ed25519PublicKey:
    """A public key: one line of OpenSSH (``ssh-ed25519 AAAA…``), or PEM.

    Raises:
        ValueError: It is no public ed25519 key.
        OSError: It cannot be read.
    """
    content = read_bounded(path, _LARGEST_KEY)
    if b"PRIVATE KEY" in content:
        raise ValueError(
            f"{path} is a private key: whoever verifies needs the public one (ssh-keygen -y -f "
            "key, or openssl pkey -in key.pem -pubout), and nobody but the signer this one."
        )
    try:
        return _public(content)
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise ValueError(
            f"{path} holds no public ed25519 key ({' '.join(str(error).split())[:120]}). Give the "
            "signer's .pub file, or PEM."
        ) from None


def _public(content: bytes) -> Ed25519PublicKey:
    if content.lstrip().startswith(b"ssh-"):
        key = forms.load_ssh_public_key(content.strip())
    else:
        key = forms.load_pem_public_key(content)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is another kind of key")
    return key


def _is_public(content: bytes) -> bool:
    return b"BEGIN PUBLIC KEY" in content or content.lstrip().startswith(b"ssh-")


def fingerprint(key: Ed25519PublicKey) -> str:
    """``SHA256:…`` as ``ssh-keygen -l`` prints it."""
    blob = base64.b64decode(_line(key).split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _line(key: Ed25519PublicKey) -> str:
    form, encoding = forms.PublicFormat.OpenSSH, forms.Encoding.OpenSSH
    return key.public_bytes(encoding, form).decode()


def sign(content: bytes, key: Ed25519PrivateKey) -> bytes:
    """The content of evidence.json.sig; nothing of the private key is in it."""
    public = key.public_key()
    made = Signature(
        public_key=_line(public),
        fingerprint=fingerprint(public),
        signature=base64.b64encode(key.sign(content)).decode(),
    )
    return (made.model_dump_json(indent=1) + "\n").encode()


def signer(content: bytes, signature: bytes) -> Ed25519PublicKey:
    """Whose signature over ``content`` it is.

    Raises:
        ValueError: The signature is damaged, or of another content: one of both was changed.
    """
    try:
        found = Signature.model_validate_json(signature)
        key = _public(found.public_key.encode())
        raw = base64.b64decode(found.signature, validate=True)
        if found.fingerprint != fingerprint(key):
            raise ValueError("its fingerprint is of another key")
    except (ValidationError, ValueError, UnsupportedAlgorithm, binascii.Error) as error:
        why = " ".join(str(error).split())[:160]
        raise ValueError(f"the signature itself was changed or damaged ({why})") from None
    try:
        key.verify(raw, content)
    except InvalidSignature:
        raise ValueError(
            "evidence.json and its signature do not belong together: one of them was changed"
        ) from None
    return key


def same(a: Ed25519PublicKey, b: Ed25519PublicKey) -> bool:
    """Whether they are one key."""
    return fingerprint(a) == fingerprint(b)
