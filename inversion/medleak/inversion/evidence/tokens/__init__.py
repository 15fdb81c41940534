"""Tokens: what the update of a transformer tells of the patches that it was shown."""
