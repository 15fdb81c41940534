"""How many cases a generated test tries: a few with every test, all by ``make test-security``."""

import os


def cases(usual: int, all_of_them: int) -> int:
    """``usual``, or ``all_of_them`` where MEDLEAK_SECURITY asks for it."""
    return all_of_them if os.environ.get("MEDLEAK_SECURITY") == "full" else usual
