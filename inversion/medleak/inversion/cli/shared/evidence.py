"""``medleak report --sign`` and ``--verify``: evidence.json, and what vouches for it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medleak.inversion.cli.shared.errors import FAILED, NOT_KNOWN
from medleak.inversion.cli.shared.output import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from medleak.inversion.report.dossier.verification import Verified
    from medleak.inversion.report.html.page import Report
    from medleak.inversion.report.model import Audit

SignOption = Annotated[
    Path | None,
    typer.Option(
        metavar="KEY",
        help="Sign evidence.json, and with it every file of AUDIT, by a private ed25519 key of "
        "openssl or ssh-keygen. A passphrase is asked for.",
    ),
]
VerifyOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR|FILE",
        help="Make no report: is the audit directory, or one file of it, as it was signed?",
    ),
]
PublicKeyOption = Annotated[
    list[Path] | None,
    typer.Option(help="With --verify: key of a signer whom you trust; may be repeated."),
]


def verify_and_tell(path: Path, keys: Sequence[Path], as_json: bool) -> None:
    """Print what `medleak.inversion.report.dossier.verification.verify` finds, and exit.

    Raises:
        typer.Exit: 0 genuine, 1 changed, 3 not known.
        ValueError: A key is none.
    """
    from medleak.inversion.report.dossier.signing import read_public_key
    from medleak.inversion.report.dossier.verification import verify

    found = verify(path, [read_public_key(key) for key in keys])
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _tell(path, found)
    raise typer.Exit({"genuine": 0, "changed": FAILED}.get(found.state, NOT_KNOWN))


def _tell(path: Path, found: "Verified") -> None:
    if found.state == "genuine":
        compared = f"; {found.files} of its files compared" if found.files else ""
        typer.echo(f"{path}: as {found.signer} signed it{compared}.")
    for why in found.why:
        typer.echo(f"medleak: {found.state}: {printable(why)}.", err=True)


def require_unsigned(audit: Path) -> None:
    """Refuse to write into a directory whose signature the new files would break.

    Raises:
        ValueError: It is signed.
    """
    from medleak.inversion.report.dossier.contents import SIGNATURE

    if (audit / SIGNATURE).exists():
        raise ValueError(
            f"{audit} is signed, and a new report in it would no longer be what was signed: sign "
            f"again (--sign), name a place elsewhere (--out), or remove {audit / SIGNATURE}."
        )


def require_current(audit: Path, target: Path) -> None:
    """Refuse to sign an older report that lies in the directory as if it were of its figures.

    Raises:
        ValueError: There is one beside ``target``, which is made anew.
    """
    figures = [p for name in ("results.csv", "summary.json") if (p := audit / name).is_file()]
    made = max(path.stat().st_mtime_ns for path in figures)
    for page in sorted(audit.rglob("*.html")):
        if page.resolve() != target.resolve() and page.lstat().st_mtime_ns < made:
            raise ValueError(
                f"{page} is older than the figures of {audit}, and would be signed as if it were "
                f"of them: make it anew (medleak report {audit} -o {page}), or take it away."
            )


def signing_key(audit: Path, key: Path) -> "Ed25519PrivateKey":
    """The private key; read before anything is written.

    Raises:
        ValueError: It is none, or lies in the audit directory, so that it would be handed on.
        OSError: It cannot be read.
    """
    from medleak.inversion.report.dossier.signing import read_private_key

    if key.resolve().is_relative_to(audit.resolve()):
        raise ValueError(
            f"{key} lies in {audit}, which is handed on with its signature: whoever gets it could "
            "sign in your name. Keep the private key elsewhere."
        )
    return read_private_key(key, lambda: _passphrase(key))


def write_evidence(
    audit: "Audit", made: "Report", target: Path, key: "Ed25519PrivateKey | None"
) -> Path:
    """evidence.json of ``audit`` in its directory, with a signature if there is a key.

    Raises:
        ValueError: Something in the directory cannot be vouched for.
        OSError: The disk refuses a file.
    """
    from medleak.custom.atomic import write_atomic
    from medleak.inversion.report.dossier.contents import EVIDENCE, SIGNATURE
    from medleak.inversion.report.dossier.make import as_bytes, evidence
    from medleak.inversion.report.dossier.signing import sign

    content = as_bytes(evidence(audit, made.verdicts, made.validity, target))
    signature = audit.folder / SIGNATURE
    signature.unlink(missing_ok=True)  # of another content: rather none than a wrong one
    write_atomic(audit.folder / EVIDENCE, content)
    if key is not None:
        write_atomic(signature, sign(content, key))
    return audit.folder / EVIDENCE


def _passphrase(key: Path) -> bytes:
    """Asked for at the terminal alone: what stands in a command is seen by others."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ValueError(
            f"{key} is encrypted, and nobody is there to be asked for its passphrase. Run this at "
            "a terminal, or sign with a key that only the file's owner can read."
        )
    return typer.prompt(f"Passphrase of {key}", hide_input=True, err=True).encode()
