"""Tests of medleak.filters.adapters.guard."""

import sys

import numpy as np
import pytest
from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.filter import ContentBlockedException, Filter, FilterContextKey, FilterSource

from medleak.filters.adapters import Guard

PERCENTILE = "nvflare.app_common.filters.percentile_privacy.PercentilePrivacy"


class Adds(Filter):
    """Returns something that the update had not."""

    def process(self, shareable, fl_ctx):
        dxo = from_shareable(shareable)
        dxo.data["extra"] = np.ones(3)
        return dxo.update_shareable(shareable)


class ToWeights(Filter):
    """Changes the kind, as ConvertWeights does."""

    def process(self, shareable, fl_ctx):
        dxo = from_shareable(shareable)
        dxo.data_kind = DataKind.WEIGHTS
        return dxo.update_shareable(shareable)


def test_the_inner_filter_is_applied(site, update, global_state):
    guard = Guard(PERCENTILE, {"percentile": 50, "gamma": 1e-5})
    sent = site.send(guard, site.result(update), global_state)
    assert np.abs(sent.data["fc.weight"]).max() <= 1e-5
    assert sent.meta["medleak_defences"] == [
        {
            "name": "nvflare_guard",
            "args": {"filter_path": PERCENTILE, "settings": {"percentile": 50, "gamma": 1e-5}},
        }
    ]


@pytest.mark.parametrize(
    ("inner", "message"), [("Adds", "returned extra of shape"), ("ToWeights", "into WEIGHTS")]
)
def test_what_the_inner_filter_must_not_return_stays_home(
    inner, message, site, update, global_state, monkeypatch
):
    guard = Guard(PERCENTILE)
    monkeypatch.setattr(guard, "_inner", {"Adds": Adds, "ToWeights": ToWeights}[inner]())
    with pytest.raises(ContentBlockedException, match=message):
        site.send(guard, site.result(update), global_state)


def test_only_filters_are_accepted():
    with pytest.raises(ValueError, match="is no NVFlare Filter"):
        Guard("nvflare.app_common.filters.percentile_privacy.DXO")


OWN = """
open({ran!r}, "w").close()
from nvflare.apis.filter import Filter

class Same(Filter):
    def process(self, shareable, fl_ctx):
        return shareable
"""


@pytest.mark.parametrize("source", [FilterSource.SITE, FilterSource.JOB, None])
def test_a_filter_of_another_package_is_imported_for_the_site_alone(
    source, site, update, global_state, tmp_path, monkeypatch
):
    (tmp_path / "filters_of_this_test.py").write_text(OWN.format(ran=str(tmp_path / "ran")))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "filters_of_this_test", raising=False)
    guard = Guard("filters_of_this_test.Same")
    guard.set_prop(FilterContextKey.SOURCE, source)
    if source == FilterSource.SITE:
        sent = site.send(guard, site.result(update), global_state)
        np.testing.assert_array_equal(sent.data["fc.weight"], update["fc.weight"])
        return
    with pytest.raises((ContentBlockedException, ValueError), match="was not imported"):
        site.send(guard, site.result(update), global_state)
    assert not (tmp_path / "ran").exists()


def test_what_the_site_names_must_be_a_filter_too(site, update, global_state):
    guard = Guard("collections.OrderedDict")
    guard.set_prop(FilterContextKey.SOURCE, FilterSource.SITE)
    with pytest.raises(ValueError, match="is no NVFlare Filter"):
        site.send(guard, site.result(update), global_state)
