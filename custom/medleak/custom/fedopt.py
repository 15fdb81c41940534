"""Where exported jobs find the server's optimiser; the path is in users' files."""

from medleak.custom.flare.fedopt import FedOpt

__all__ = ["FedOpt"]
