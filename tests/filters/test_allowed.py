"""Tests of what a job may name at a site that accepts no code."""

import importlib

import pytest
from nvflare.app_common.ccwf.swarm_server_ctl import SwarmServerController
from nvflare.app_common.workflows.fedavg import FedAvg

from medleak.filters.allowed import (
    DANGEROUS,
    NETWORKS,
    SERVER_CLASSES,
    SITE_CLASSES,
    SITE_FILE,
    matches,
    past_filters,
    site_networks,
    updates_past_filters,
    way_out,
)


@pytest.mark.parametrize(
    ("name", "entries", "found"),
    [
        ("mylab.nets.unet", ("mylab.nets.unet",), True),
        ("mylab.nets.unet", ("mylab.nets.",), True),
        ("mylab.nets.unet", ("mylab.nets",), False),
        ("mylab.netsx.unet", ("mylab.nets.",), False),
        ("os.system", (".",), False),
        ("os.system", ("",), False),
        ("os.system", (), False),
    ],
)
def test_an_entry_admits_itself_or_what_lies_under_its_dot(name, entries, found):
    assert matches(name, entries) == found


@pytest.mark.parametrize("name", DANGEROUS)
def test_nothing_dangerous_is_on_a_list(name):
    assert not matches(name, SITE_CLASSES)
    assert not matches(name, NETWORKS)


def test_the_lists_hold_whole_names_of_what_is_there_and_no_prefix():
    for name in (*SITE_CLASSES, *SERVER_CLASSES, *NETWORKS):
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.parametrize("name", [n for n in DANGEROUS if ".app_common.ccwf" in n])
def test_a_swarm_is_told_as_what_it_is(name):
    assert "peer to peer" in (way_out(name) or "")


@pytest.mark.parametrize(
    ("name", "past"),
    [
        ("nvflare.app_opt.flower.controller.FlowerController", True),
        ("nvflare.app_opt.xgboost.histogram_based_v2.fed_executor.FedXGBHistogramExecutor", True),
        ("nvflare.app_common.ccwf.SwarmClientController", True),
        ("nvflare.app_common.workflows.cyclic_ctl.CyclicController", False),  # results of tasks
        ("nvflare.app_common.executors.client_api_executor.ClientAPIExecutor", False),
        ("mylab.flower.Own", False),
    ],
)
def test_whose_updates_never_come_by_a_filter_is_told_by_name(name, past):
    assert bool(past_filters(name)) == past


def test_a_subclass_is_what_its_bases_are():
    class Own(SwarmServerController):
        pass

    assert "peer to peer" in (updates_past_filters(Own) or "")
    assert updates_past_filters(FedAvg) is None


def test_of_a_class_that_is_not_known_nothing_is_said():
    assert way_out("mylab.executors.Own") is None


def test_networks_of_the_operator_come_from_the_kits_own_file(tmp_path):
    assert site_networks(tmp_path) == ()
    (tmp_path / SITE_FILE).write_text('{"networks": ["mylab.nets.", "other.net"]}')
    assert site_networks(tmp_path) == ("mylab.nets.", "other.net")


@pytest.mark.parametrize("text", ["{", "[]", '{"networks": "a.b"}', '{"networks": ["nodot", 3]}'])
def test_a_file_that_says_something_else_is_an_error_and_never_an_empty_list(tmp_path, text):
    (tmp_path / SITE_FILE).write_text(text)
    with pytest.raises(ValueError, match=r"medleak\.json"):
        site_networks(tmp_path)
