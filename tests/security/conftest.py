"""Fixtures of the report's tests, for audits that are damaged here."""

from tests.inversion.report.directories import phantoms

__all__ = ["phantoms"]
