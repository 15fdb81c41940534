"""Tests of kits and jobs read by NVFlare's own loaders."""

import json

import pytest

from medleak.filters.adapters import PercentileGaussian
from medleak.filters.adapters.examination import kit as kits

NOISE = {"path": "medleak.filters.adapters.PercentileGaussian", "args": {"sigma0": "{strength}"}}
POLICY = {
    "scopes": [{"name": "default", "task_result_filters": [NOISE]}],
    "default_scope": "default",
    "strength": 3,
}


@pytest.fixture
def kit(tmp_path):
    for name in ("startup", "local"):
        (tmp_path / name).mkdir()
    (tmp_path / "local/privacy.json").write_text(json.dumps(POLICY))
    return tmp_path


def test_a_policys_filters_are_built_with_their_references_resolved(kit):
    (chain,) = kits.load_policy(kit).chains
    (made,) = chain.results
    assert isinstance(made, PercentileGaussian)
    assert made.sigma0 == 3


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_what_cannot_be_loaded_is_not_readable_and_never_an_empty_policy(kit, text):
    (kit / "local/privacy.json").write_text(text)
    with pytest.raises(kits.NotReadable):
        kits.load_policy(kit)


def test_who_may_bring_code_is_read_from_the_rules(kit):
    def allow(byoc):
        rules = {"format_version": "1.0", "permissions": {"lead": {"byoc": byoc}}}
        (kit / "local/authorization.json").write_text(json.dumps(rules))
        return kits.rights(kit, "byoc")

    assert allow("none") == []
    assert allow("any") == ["lead"]


def test_an_app_in_every_form_of_configuration_is_found(tmp_path):
    config = tmp_path / "app_client/config"
    config.mkdir(parents=True)
    (tmp_path / "meta.json").write_text('{"name": "job"}')
    (config / "config_fed_client.conf").write_text("executors = []\nn = 3")
    (app,) = kits.load_apps(tmp_path, kits.load_meta(tmp_path))
    assert not isinstance(app, kits.NotReadable)
    (config / "config_fed_client.conf").write_text("executors = [")
    (broken,) = kits.load_apps(tmp_path, kits.load_meta(tmp_path))
    assert isinstance(broken, kits.NotReadable)
