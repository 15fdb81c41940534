"""Files that appear whole or not at all, for their owner only."""

from pathlib import Path

from medleak.filters import storage


def write_atomic(path: Path, data: bytes) -> None:
    """Make ``path`` hold ``data``, whole or not at all, and outlive a power cut.

    Missing folders are made. File and folders are for their owner only whatever the umask: records,
    lists, pictures and reports show patients' images or tell of them. On an error (``OSError``) the
    old content, if any, stays and nothing new is left behind.
    """
    storage.write(path, data)
