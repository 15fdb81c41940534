"""Where exported jobs find the locator of the best model; the path is in users' files."""

from medleak.custom.flare.best_model import BestModelLocator

__all__ = ["BestModelLocator"]
