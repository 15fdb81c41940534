"""The error of data that cannot be used, and its message without the names in it."""

import re

# As repr writes text or bytes; an apostrophe within a word opens none.
_QUOTED = re.compile(r"""(?<!\w)b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")


class DataError(ValueError):
    """The data cannot be used as they are; the message is one line for the user at the site.

    It may name files, and so patients: what leaves the site, a job's log say, takes `for_log`.
    """

    def for_log(self) -> str:
        """The message without anything that it quotes: names of files, folders, classes, sites."""
        return _QUOTED.sub("'…'", str(self))
