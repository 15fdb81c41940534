"""Tests of medleak.custom.flare.tested_model."""

import json
from types import SimpleNamespace

import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_context import FLContextManager
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from medleak.custom.flare.tested_model import FILE, GlobalModelScores
from medleak.custom.training import REPORT

GOOD = {"n": 3, "loss": 0.5, "accuracy": {"value": 1.0, "lower95": 0.4, "upper95": 1.0}}


def receive(folder, report, site="site-1", event=AppEventType.VALIDATION_RESULT_RECEIVED):
    engine = SimpleNamespace(
        get_workspace=lambda: SimpleNamespace(get_run_dir=lambda job_id: str(folder)),
        fire_event=lambda event, context: None,
    )
    context = FLContextManager(engine=engine, identity_name="server", job_id="j").new_context()
    metrics = {"test_accuracy": 1.0} | ({} if report is None else {REPORT: report})
    result = DXO(DataKind.METRICS, data=metrics).to_shareable()
    context.set_prop(AppConstants.DATA_CLIENT, site)
    context.set_prop(AppConstants.MODEL_OWNER, "SRV_best_FL_global_model.pt")
    context.set_prop(AppConstants.VALIDATION_RESULT, result)
    GlobalModelScores("site-1").handle_event(event, context)


def test_the_report_of_the_testing_site_is_written_with_its_model(tmp_path):
    receive(tmp_path, GOOD)
    found = json.loads((tmp_path / FILE).read_text())
    assert found == {"model": "SRV_best_FL_global_model.pt", "site": "site-1", **GOOD}


@pytest.mark.parametrize(
    "report",
    [
        None,
        [],
        {},
        {"n": "3"},
        {**GOOD, "loss": float("nan")},
        {**GOOD, "auc": float("inf")},
        {**GOOD, "classes": ["x" * 2_000_000]},
    ],
)
def test_what_is_no_report_is_not_written(tmp_path, report):
    receive(tmp_path, report)
    assert not (tmp_path / FILE).exists()


def test_other_sites_and_other_events_write_nothing(tmp_path):
    receive(tmp_path, GOOD, site="site-2")
    receive(tmp_path, GOOD, event=AppEventType.ROUND_DONE)
    assert not (tmp_path / FILE).exists()


def test_a_job_that_was_exported_earlier_finds_it_under_its_old_name():
    from medleak.custom import test_metrics

    assert test_metrics.TestMetrics is GlobalModelScores
