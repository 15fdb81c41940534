"""A real federation on this machine (NVFlare POC): what a site's policy enforces against a job."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from medleak.custom.record import read_record
from tests.jobs.poc import Federation, federated
from tests.jobs.simulation import client_app, export

pytestmark = [pytest.mark.simulator, pytest.mark.timeout(400)]

TABLE = "site-1:4:8:8,site-2:4:8:8"
POLICY = {
    "scopes": [
        {
            "name": "default",
            "task_data_filters": [{"path": "medleak.filters.adapters.GlobalModel"}],
            "task_result_filters": [
                {"path": "medleak.filters.adapters.PercentileGaussian", "args": {"sigma0": 10}}
            ],
        }
    ],
    "default_scope": "default",
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory, installed) -> Iterator[Federation]:
    """One server, two sites; site-1 enforces noise on every job."""

    def enforce(made: Federation) -> None:
        (made.kit("site-1") / "local" / "privacy.json").write_text(json.dumps(POLICY))

    with federated(tmp_path_factory.mktemp("federation"), installed, 2, enforce) as made:
        yield made


def test_the_policy_of_a_site_adds_noise_that_no_job_asked_for_or_can_shadow(federation, tmp_path):
    options = ("--table", TABLE, "--scale", "1", "--num_rounds", "1")
    job = export("cxr_clean", tmp_path, *options)
    assert client_app(job, "site-1") == client_app(job, "site-2")  # one app for both
    shadow = client_app(job, "site-1") / "custom" / "medleak" / "filters" / "adapters"
    shadow.mkdir(parents=True)
    for package in (shadow, shadow.parent, shadow.parent.parent):
        (package / "__init__.py").write_text(
            "from nvflare.apis.filter import Filter\n"
            "class PercentileGaussian(Filter):\n"
            "    def __init__(self, **kwargs): super().__init__()\n"
            "    def process(self, shareable, fl_ctx): return shareable\n"
            "GlobalModel = PercentileGaussian\n"
        )
    result = federation.run(job)
    noisy, clean = (read_record(result / "records", 0, f"site-{n}") for n in (1, 2))
    assert [d["name"] for d in noisy.info.defences] == ["percentile_gaussian"]
    assert clean.info.defences == ()
    weight = "features.layer3.0.conv1.weight"
    assert np.std(noisy.update[weight]) > 5 * np.std(clean.update[weight])


def test_whole_weights_of_a_job_leave_a_site_with_its_noise(federation, tmp_path):
    options = ("--table", TABLE, "--scale", "1", "--num_rounds", "1")
    job = export("cxr_clean", tmp_path, *options)
    config = client_app(job, "site-1") / "config" / "config_fed_client.json"
    text = json.loads(config.read_text())
    text["executors"][0]["tasks"] = ["*"]
    text["executors"][0]["executor"]["args"]["params_transfer_type"] = "FULL"
    config.write_text(json.dumps(text))
    result = federation.run(job)
    noisy, clean = (read_record(result / "records", 0, f"site-{n}") for n in (1, 2))
    assert [d["name"] for d in noisy.info.defences] == ["percentile_gaussian"]
    assert clean.info.defences == ()
    weight = "features.layer3.0.conv1.weight"
    assert np.std(noisy.update[weight]) > 5 * np.std(clean.update[weight])
