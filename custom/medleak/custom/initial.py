"""Where exported jobs find the initial network; the path is in users' files."""

from medleak.custom.training.initial import initial_network

__all__ = ["initial_network"]
