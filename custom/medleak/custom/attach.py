"""Where ``medleak attach`` finds what it does: the recorder, and filters, for a job as it is."""

from medleak.custom.flare.attach import Attached, attach, attach_folder
from medleak.custom.flare.checking.job_check import Checked, check_folder

__all__ = ["Attached", "Checked", "attach", "attach_folder", "check_folder"]
