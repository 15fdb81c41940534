"""Tests of NVFlare's filters at a site of another framework."""

import numpy as np
import pytest
from nvflare.apis.filter import ContentBlockedException

from medleak.custom.flare.outside import SiteChain, filters_of, steps_of
from medleak.filters.adapters import PercentileGaussian, PrivacyLedger, RestoreWithheld
from medleak.filters.privacy import ledger
from medleak.filters.update import UpdateError

STATE = {"w": np.ones(4, np.float32), "bn.running_mean": np.zeros(2, np.float32)}
LOCAL = {n: v + np.float32(0.5) for n, v in STATE.items()}
FORMAL = "clipped_gaussian:noise_multiplier=1,max_grad_norm=1"


def chain(root, text, *, data_filters=(), more=(), job="j"):
    filters = [*filters_of(text), *more]
    return SiteChain(
        data_filters=data_filters, result_filters=filters, root=root, site="a", job=job
    )


def test_a_text_becomes_its_filters_in_their_order():
    made = filters_of("withhold+percentile_gaussian:sigma0=2")
    assert [type(f).__name__ for f in made] == ["Withhold", "PercentileGaussian"]
    assert [s.name for s in steps_of("sign")] == ["sign"]


def test_what_is_disclosed_is_so_by_the_mechanism_with_an_epsilon():
    (made,) = filters_of(FORMAL, disclose=["schedule"])
    assert made.disclose == ["schedule"]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="has none"):
        filters_of("sign", disclose=["schedule"])


def test_an_update_leaves_protected_and_declared(tmp_path):
    received = chain(tmp_path, "percentile_gaussian:sigma0=10").receive(STATE, 0, "t")
    sent = received.release(LOCAL, {"loss": 0.5})
    assert not np.allclose(sent.update["w"], 0.5)
    assert sent.meta["loss"] == 0.5
    assert sent.meta["medleak_defences"][0]["name"] == "percentile_gaussian"
    assert not sent.guaranteed
    np.testing.assert_array_equal(STATE["w"], 1)


def test_an_epsilon_is_counted_in_the_sites_folder_and_lets_nothing_out_beside(tmp_path):
    made = chain(tmp_path, FORMAL, more=[PrivacyLedger(1e-5)])
    sent = made.receive(STATE, 4, "t").release(LOCAL, {"loss": 0.5, "hp": {"lr": 0.1}})
    assert sent.guaranteed
    assert set(sent.meta) == {"medleak_defences", "medleak_ledger"}
    (entry,) = ledger.read(tmp_path / ledger.FILE_NAME).entries
    assert (entry.spend.site, entry.spend.job, entry.spend.round) == ("a", "j", 4)


def test_what_was_withheld_is_the_sites_own_in_the_next_round(tmp_path):
    made = chain(tmp_path, "withhold", data_filters=[RestoreWithheld()])
    sent = made.receive(STATE, 0, "t").release(LOCAL, {})
    assert set(sent.update) == {"w"}
    again = made.receive(STATE, 1, "u")
    np.testing.assert_array_equal(again.model["bn.running_mean"], 0.5)
    np.testing.assert_array_equal(again.model["w"], 1)


@pytest.mark.parametrize(
    ("local", "error", "words"),
    [
        ({**LOCAL, "more": np.ones(2)}, UpdateError, "no entry of the model"),
        ({**LOCAL, "w": np.ones(3)}, UpdateError, "no entry of the model"),
        ({"w": LOCAL["w"]}, ContentBlockedException, "lacks"),
        ({**LOCAL, "w": LOCAL["w"] * np.nan}, ContentBlockedException, "NaN"),
        (STATE, ContentBlockedException, "zero in every entry"),
    ],
)
def test_what_is_no_update_of_the_model_stays_at_home(tmp_path, local, error, words):
    received = chain(tmp_path, "percentile_gaussian:sigma0=1").receive(STATE, 0, "t")
    with pytest.raises(error, match=words):
        received.release(local, {})


def test_a_filter_that_refuses_the_round_does_so_before_training(tmp_path):
    made = chain(tmp_path, "withhold", data_filters=[RestoreWithheld()])
    with pytest.raises(ContentBlockedException, match="no round number"):
        made.receive(STATE, None, "t")


def test_filters_that_are_used_twice_keep_nothing_of_the_first_round(tmp_path):
    made = chain(tmp_path, "percentile_gaussian:sigma0=1", more=[PercentileGaussian(sigma0=1)])
    first = made.receive(STATE, 0, "t").release(LOCAL, {})
    second = made.receive(STATE, 1, "u").release(LOCAL, {})
    assert len(first.meta["medleak_defences"]) == len(second.meta["medleak_defences"]) == 2
