"""Tests of medleak.filters.adapters.guard."""

import numpy as np
import pytest
from nvflare.apis.dxo import DataKind, from_shareable
from nvflare.apis.filter import ContentBlockedException, Filter

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
        Guard("collections.OrderedDict")
