"""The server's ``test_metrics.json``: how well the selected model does on images of no site."""

import json
import math
from pathlib import Path
from typing import Any

from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from medleak.custom.atomic import write_atomic
from medleak.custom.training import REPORT

FILE = "test_metrics.json"
_LIMIT = 1_000_000  # bytes; the report of 100 classes has about 40,000


class GlobalModelScores(FLComponent):
    """Write the report of one site on the tested model into the server's run directory.

    The file holds what :func:`medleak.custom.training.scores.report` (or, for masks,
    :func:`medleak.custom.training.segmentation.report`) returns, and ``model`` and ``site``.

    Args:
        site: Whose report counts; those of other sites are in NVFlare's cross_val_results.json.
    """

    def __init__(self, site: str) -> None:
        """Take the name of the site that tests."""
        super().__init__()
        self.site = site

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Write the file when the site's result arrives; a report that is none is only logged."""
        if event_type != AppEventType.VALIDATION_RESULT_RECEIVED:
            return
        if fl_ctx.get_prop(AppConstants.DATA_CLIENT) != self.site:
            return
        engine = fl_ctx.get_engine()
        result = fl_ctx.get_prop(AppConstants.VALIDATION_RESULT)
        if engine is None or result is None:
            self.log_error(fl_ctx, f"{self.site}'s report on the tested model has not come along.")
            return
        try:
            report = _report(from_shareable(result).data)
        except (ValueError, TypeError, AttributeError) as error:
            self.log_error(fl_ctx, f"{self.site} sent no report on the tested model: {error}")
            return
        model = str(fl_ctx.get_prop(AppConstants.MODEL_OWNER))
        run = Path(engine.get_workspace().get_run_dir(fl_ctx.get_job_id()))
        text = json.dumps({"model": model, "site": self.site} | report, indent=2, allow_nan=False)
        write_atomic(run / FILE, (text + "\n").encode())
        self.log_info(fl_ctx, f"Wrote {run / FILE}")


def _report(metrics: dict[str, Any]) -> dict[str, Any]:
    """The report among ``metrics``; it came over the network."""
    report = metrics.get(REPORT)
    if not isinstance(report, dict) or not isinstance(report.get("n"), int):
        raise ValueError(f"among its {DataKind.METRICS} there is no {REPORT!r} with an 'n'")
    if len(json.dumps(report, allow_nan=False)) > _LIMIT:
        raise ValueError(f"it has more than {_LIMIT} bytes")
    if not math.isfinite(report.get("loss", math.nan)):
        raise ValueError("its loss is no finite number")
    return report
