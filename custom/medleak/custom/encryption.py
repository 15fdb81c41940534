"""Where exported jobs find the parts of an encrypted federation; the path is in users' files."""

from medleak.custom.flare.encryption import RestoreShapes, SimulationContexts

__all__ = ["RestoreShapes", "SimulationContexts"]
