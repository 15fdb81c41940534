"""What tests of the evidence share."""

from tests.inversion.report.dossier.dossiers import key, signed

__all__ = ["key", "signed"]
