"""Tests of which of the server's models is tested at the end of a run."""

import pytest
from nvflare.app_opt.pt.file_model_locator import PTFileModelLocator

from medleak.custom.flare.best_model import BestModelLocator


@pytest.mark.parametrize(
    ("kept", "tested"),
    [
        (
            ["SRV_FL_global_model.pt", "SRV_best_FL_global_model.pt"],
            ["SRV_best_FL_global_model.pt"],
        ),
        (["SRV_FL_global_model.pt"], ["SRV_FL_global_model.pt"]),
        ([], []),
    ],
)
def test_the_best_model_is_tested_and_the_last_where_there_is_none(monkeypatch, kept, tested):
    monkeypatch.setattr(PTFileModelLocator, "get_model_names", lambda self, fl_ctx: kept)
    assert BestModelLocator("persistor").get_model_names(None) == tested  # type: ignore[arg-type]
