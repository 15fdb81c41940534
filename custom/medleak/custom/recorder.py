"""Where exported jobs find the recorder; the path is in users' files."""

from medleak.custom.flare.recorder import UpdateRecorder

__all__ = ["UpdateRecorder"]
