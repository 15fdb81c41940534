"""Tests of training from the installed package."""

from nvflare.client.config import ExchangeFormat, TransferType

from medleak.custom.flare.installed_client import InstalledClient
from medleak.custom.training import client


def test_it_runs_the_packages_script_and_sends_differences_that_filters_can_read():
    executor = InstalledClient("--classes normal pneumonia")
    settings = vars(executor)
    found = {k.lstrip("_"): v for k, v in settings.items()}
    assert found["task_script_path"] == client.__file__
    assert found["task_script_args"] == "--classes normal pneumonia"
    assert found["params_transfer_type"] == TransferType.DIFF
    assert found["server_expected_format"] == ExchangeFormat.NUMPY


def test_the_exporter_writes_its_arguments():
    assert "task_script_args" in InstalledClient._always_serialize_args
