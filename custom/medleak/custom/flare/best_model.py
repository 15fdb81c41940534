"""Which of the server's models is tested at the end of a run."""

from nvflare.apis.fl_context import FLContext
from nvflare.app_opt.pt.file_model_locator import PTFileModelLocator


class BestModelLocator(PTFileModelLocator):
    """Offer the best global model by mean validation accuracy, or the last if none was validated.

    The best is the one that TMI section III-A tests. A run of one round has none: the model that
    starts round 0 is not counted, and later ones are validated at the start of the next round.
    """

    def get_model_names(self, fl_ctx: FLContext) -> list[str]:
        """The one name of the model to test."""
        names = super().get_model_names(fl_ctx)
        return [name for name in names if "best" in name] or names
