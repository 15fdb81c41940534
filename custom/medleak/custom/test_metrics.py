"""Where older jobs find the scores of the global model; the path is in users' files."""

from medleak.custom.flare.tested_model import GlobalModelScores as TestMetrics

__all__ = ["TestMetrics"]
