"""Attacks on recorded updates, metrics, audits, and the ``medleak`` command."""
