"""Where ``medleak attach`` finds what it does: the recorder, and filters, for a job as it is."""

from medleak.custom.flare.attach import Attached, attach, attach_folder

__all__ = ["Attached", "attach", "attach_folder"]
