"""What tests of the classes share."""

from tests.inversion.report.attack_classes.audits import audited

__all__ = ["audited"]
