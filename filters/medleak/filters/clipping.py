"""Where operators find an update's norm; the path is in users' files."""

from medleak.filters.defences.clipping import clipping_factor, global_l1_norm, global_l2_norm

__all__ = ["clipping_factor", "global_l1_norm", "global_l2_norm"]
