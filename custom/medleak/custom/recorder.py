"""Where exported jobs find the recorders; the paths are in users' files."""

from medleak.custom.flare.recorder import UpdateRecorder
from medleak.custom.flare.swarm.recorder import SwarmRecorder

__all__ = ["SwarmRecorder", "UpdateRecorder"]
