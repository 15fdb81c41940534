"""Tests of Protect: what leaves a Flower client, driven by Flower's own apps and messages."""

import json
import logging

import numpy as np
import pytest
from tests.custom.flower.federation import (
    HP,
    STATE,
    ConfigRecord,
    LocalGrid,
    Message,
    MetricRecord,
    RecordDict,
    as_record,
    client,
    trained,
)

from medleak.custom.flower import Protect
from medleak.filters.privacy import ledger

NOISE = "percentile_gaussian:sigma0=10"
FORMAL = "clipped_gaussian:noise_multiplier=1,max_grad_norm=1"


def ask(mod, kind="train", round_number: int | None = 1, **app):
    """The reply of one protected client to a message of ``kind``."""
    config = ConfigRecord({} if round_number is None else {"server-round": round_number})
    content = RecordDict({"arrays": as_record(STATE, **app.pop("sent", {})), "config": config})
    message = Message(content, dst_node_id=11, message_type=kind)
    (reply,) = LocalGrid({11: client([mod], **app)}).send_and_receive([message])
    return reply


def arrays(reply):
    assert not reply.has_error(), reply.error
    (record,) = reply.content.array_records.values()
    return dict(zip(STATE, (a.numpy() for a in record.values()), strict=True))


def withheld(reply, caplog):
    """The reason in the site's log for a reply that holds nothing."""
    assert reply.has_error()
    assert not reply.has_content()
    assert reply.error.reason == "medleak withheld it; the reason is in the site's own log"
    return caplog.text


def test_the_update_is_noised_and_the_rest_of_the_reply_is_as_it_was(tmp_path):
    reply = ask(Protect(NOISE, root=tmp_path))
    left, local = arrays(reply), trained(STATE, 11)
    assert np.abs(left["fc.weight"] - local["fc.weight"]).max() > 0.01
    assert left["fc.weight"].dtype == np.float32
    assert (left["bn.running_var"] > 0).all()
    assert left["bn.num_batches_tracked"] == 5
    assert reply.content["metrics"] == MetricRecord({"num-examples": 4, "loss": 0.5})
    meta = json.loads(reply.content["medleak"]["meta"])
    assert meta["medleak_defences"][0]["name"] == "percentile_gaussian"


def test_without_the_mod_the_same_client_sends_what_it_trained():
    message = Message(
        RecordDict({"arrays": as_record(STATE)}), dst_node_id=11, message_type="train"
    )
    (reply,) = LocalGrid({11: client()}).send_and_receive([message])
    np.testing.assert_array_equal(arrays(reply)["fc.weight"], trained(STATE, 11)["fc.weight"])


def test_an_action_of_another_name_is_protected_as_well(tmp_path):
    app = client([Protect(NOISE, root=tmp_path)])
    app.train("own")(
        lambda message, context: Message(
            RecordDict({"arrays": as_record(trained(STATE, 11))}), reply_to=message
        )
    )
    content = RecordDict({"arrays": as_record(STATE)})
    message = Message(content, dst_node_id=11, message_type="train.own")
    (reply,) = LocalGrid({11: app}).send_and_receive([message])
    assert not np.array_equal(arrays(reply)["fc.weight"], trained(STATE, 11)["fc.weight"])


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ({"train": lambda s, n: {**trained(s, n), "fc.weight": np.full((2, 3), np.nan)}}, "NaN"),
        ({"train": lambda s, n: {**trained(s, n), "more": np.ones(2)}}, "more"),
        ({"train": lambda s, n: {"fc.weight": s["fc.weight"] + 1}}, "lacks"),
        ({"train": lambda s, n: 1 / 0}, "division by zero"),
        ({"beside": {"more": as_record(STATE)}}, "2 records of arrays"),
        ({"beside": {"more": MetricRecord({"w": [0.1] * 2000})}}, "bytes as JSON"),
        ({"beside": {"more": ConfigRecord({"w": b"weights"})}}, "cannot be vouched for"),
    ],
)
def test_what_is_no_plain_update_stays_at_home(tmp_path, caplog, app, words):
    assert words in withheld(ask(Protect(NOISE, root=tmp_path), **app), caplog)


def test_what_a_client_writes_under_our_name_does_not_leave(tmp_path):
    own = ConfigRecord({"meta": json.dumps({"medleak_defences": [{"name": "dp_sgd"}]})})
    reply = ask(Protect(NOISE, root=tmp_path), beside={"medleak": own})
    names = [d["name"] for d in json.loads(reply.content["medleak"]["meta"])["medleak_defences"]]
    assert names == ["percentile_gaussian"]


@pytest.mark.parametrize("kind", ["query", "query.own"])
def test_messages_that_ask_for_something_else_are_refused(tmp_path, caplog, kind):
    assert "no filter protects" in withheld(ask(Protect(NOISE, root=tmp_path), kind), caplog)


def test_scores_leave_under_a_heuristic_and_arrays_beside_them_do_not(tmp_path, caplog):
    reply = ask(Protect(NOISE, root=tmp_path), "evaluate")
    assert reply.content["metrics"]["accuracy"] == 0.5
    reply = ask(Protect(NOISE, root=tmp_path), "evaluate", beside={"all": as_record(STATE)})
    assert "holds arrays" in withheld(reply, caplog)


def test_under_an_epsilon_nothing_exact_leaves_and_the_ledger_counts(tmp_path, caplog):
    mod = Protect(FORMAL, root=tmp_path, target_delta=1e-5)
    reply = ask(mod, beside={"hp": HP, "secret": ConfigRecord({"name": "a patient"})})
    assert dict(reply.content["metrics"]) == {"num-examples": 1}
    assert set(reply.content) == {"arrays", "metrics", "medleak"}
    meta = json.loads(reply.content["medleak"]["meta"])
    assert set(meta) == {"medleak_defences", "medleak_ledger"}
    assert arrays(reply)["bn.num_batches_tracked"] == 3  # as it came: steps would be told by it
    assert len(ledger.read(tmp_path / ledger.FILE_NAME).entries) == 1
    assert "under a mechanism with an ε nothing is evaluated" in withheld(
        ask(mod, "evaluate"), caplog
    )


def test_a_schedule_that_is_disclosed_leaves_exactly(tmp_path):
    mod = Protect(FORMAL, root=tmp_path, target_delta=1e-5, disclose=["schedule"])
    reply = ask(mod, beside={"hp": HP})
    assert dict(reply.content["metrics"]) == {"num-examples": 4}
    assert json.loads(reply.content["medleak"]["meta"])["hp"]["n_images"] == 4


def test_a_round_is_released_once_and_one_over_the_budget_is_not_trained(tmp_path, caplog):
    mod = Protect(FORMAL, root=tmp_path, target_delta=1e-5, target_epsilon=10.0)
    first, again = ask(mod), ask(mod)
    np.testing.assert_array_equal(arrays(first)["fc.weight"], arrays(again)["fc.weight"])
    ran = []
    train = lambda s, n: ran.append(n) or trained(s, n)  # noqa: E731
    reply = ask(mod, round_number=2, train=train)
    assert "PrivacyBudget refused the round" in withheld(reply, caplog)
    assert ran == []


def test_a_round_without_a_number_cannot_be_accounted_for(tmp_path, caplog):
    mod = Protect(FORMAL, root=tmp_path, target_delta=1e-5)
    assert "must be known to keep a ledger" in withheld(ask(mod, round_number=None), caplog)


def test_what_is_withheld_stays_as_it_came_and_is_the_sites_own_in_the_next_round(tmp_path):
    mod = Protect("withhold", root=tmp_path)
    reply = ask(mod)
    np.testing.assert_array_equal(arrays(reply)["bn.running_var"], STATE["bn.running_var"])
    assert "bn.running_var" in reply.content["medleak"]["withheld"]
    got = []
    ask(mod, round_number=2, train=lambda s, n: got.append(s) or trained(s, n))
    np.testing.assert_allclose(got[0]["bn.running_var"], STATE["bn.running_var"] * 1.1, rtol=1e-6)


def test_numbered_arrays_need_the_networks_names(tmp_path, caplog):
    sent = {"sent": {"numbered": True}, "numbered": True}
    assert "numbered, not named" in withheld(ask(Protect(NOISE, root=tmp_path), **sent), caplog)
    caplog.clear()
    few = Protect(NOISE, root=tmp_path, names=["fc.weight"])
    assert "names has 1" in withheld(ask(few, **sent), caplog)
    reply = ask(Protect(NOISE, root=tmp_path, names=list(STATE)), **sent)
    assert list(reply.content["arrays"]) == ["0", "1", "2"]
    assert arrays(reply)["bn.num_batches_tracked"] == 5


def test_simulated_sites_have_folders_of_their_own(tmp_path):
    mod = Protect(FORMAL, root=tmp_path / "{partition}", target_delta=1e-5)
    content = RecordDict({"arrays": as_record(STATE), "config": ConfigRecord({"server-round": 1})})
    grid = LocalGrid({11: client([mod]), 12: client([mod])})
    first, second = grid.send_and_receive(
        [Message(content, dst_node_id=n, message_type="train") for n in (11, 12)]
    )
    assert not np.array_equal(arrays(first)["fc.weight"], arrays(second)["fc.weight"])
    assert [len(ledger.read(tmp_path / n / ledger.FILE_NAME).entries) for n in "01"] == [1, 1]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"defence": "noise"}, "Unknown defence"),
        ({"defence": "percentile_gaussian:sigma0=-1"}, "sigma0"),
        ({"defence": FORMAL}, "give target_delta"),
        ({"defence": NOISE, "target_epsilon": 1.0}, "give target_delta"),
        ({"defence": NOISE, "target_epsilon": 1.0, "target_delta": 1e-5}, "heuristic"),
        ({"defence": NOISE, "disclose": ["schedule"]}, "has none"),
        ({"defence": FORMAL, "target_delta": 1e-5, "disclose": ["metrics"]}, "'schedule' alone"),
    ],
)
def test_what_cannot_be_kept_is_refused_when_the_app_starts(tmp_path, args, words):
    with pytest.raises(ValueError, match=words):
        Protect(**args, root=tmp_path)


def test_the_reason_of_a_failure_stays_in_the_sites_log(tmp_path, caplog):
    def fail(state, node):
        raise RuntimeError("image of patient 12345")

    with caplog.at_level(logging.ERROR):
        reply = ask(Protect(NOISE, root=tmp_path), train=fail)
    assert "12345" in withheld(reply, caplog)
    assert "12345" not in str(reply.error)
