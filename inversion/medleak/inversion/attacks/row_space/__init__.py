"""Match row spaces of convolution updates and norm statistics: the strongest attack here."""

from medleak.inversion.attacks.row_space.attack import RowSpace, run, run_average

__all__ = ["RowSpace", "run", "run_average"]
