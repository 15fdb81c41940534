"""Tests of medleak.filters.adapters.ledger: ε neither lost nor spent twice, whatever is killed."""

import json
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from nvflare.apis.filter import ContentBlockedException

from medleak.filters.adapters import (
    ClippedGaussian,
    DeclareDPSGD,
    GlobalModel,
    PercentileGaussian,
    PrivacyBudget,
    PrivacyLedger,
    Quantisation,
)
from medleak.filters.privacy import accounting, ledger
from medleak.filters.privacy.accounting import gaussian

PLANNED = "clipped_gaussian:max_grad_norm=1,noise_multiplier=8"
DP_SGD = {"noise_multiplier": 2.0, "sample_rate": 0.5, "steps": 4}
ONE = gaussian(4.0)  # noise multiplier 8, sensitivity 2


def chain(**kwargs):
    mechanism = ClippedGaussian(max_grad_norm=1, noise_multiplier=8)
    return [mechanism, PrivacyLedger(target_delta=1e-5, **kwargs)]


def entries(site):
    return ledger.read(site.root / "medleak_ledger.jsonl").entries


def without_statistics(update):
    """As a network with group norm: batch statistics do not change."""
    return {n: np.zeros_like(v) if "running" in n else v for n, v in update.items()}


def test_each_round_is_one_entry_with_epsilon_so_far(site, update, global_state):
    _, _, sent = (
        site.send(chain(), site.result(update), global_state, round_number=r) for r in (0, 1, 2)
    )
    expected = accounting.epsilon([ONE] * 3, 1e-5)
    assert [e.spend.round for e in entries(site)] == [0, 1, 2]
    assert entries(site)[-1].epsilons[0] == pytest.approx(expected)
    assert sent.meta["medleak_ledger"] == {
        "entries": 3,
        "head": entries(site)[-1].hash,
        "delta": 1e-5,
        "epsilon": [
            {
                **{"unit": "client", "relation": "replace", "beside": []},
                "epsilon": pytest.approx(expected),
            }
        ],
    }


def test_a_repeated_round_sends_the_same_update_and_costs_nothing(site, update, global_state):
    first = site.send(chain(), site.result(update), global_state)
    update["fc.weight"] *= 2  # training again never gives the same
    again = site.send(chain(), site.result(update), global_state)
    assert len(entries(site)) == 1
    for name in first.data:
        np.testing.assert_array_equal(first.data[name], again.data[name])


def test_a_repeated_round_without_its_stored_update_is_refused(site, update, global_state):
    site.send(chain(), site.result(update), global_state)
    (stored,) = site.root.rglob("medleak_state/**/*.safetensors")
    stored.unlink()
    with pytest.raises(ContentBlockedException, match="no longer stored"):
        site.send(chain(), site.result(update), global_state)
    assert len(entries(site)) == 1
    site.send(chain(), site.result(update), global_state, round_number=4)
    assert len(entries(site)) == 2


def test_rounds_in_turn_send_what_they_sent_before(site, update, global_state):
    sent = {}
    for r in (7, 8, 7, 9, 8, 7):
        update["fc.weight"] += np.float32(1e-5)
        now = site.send(chain(), site.result(update), global_state, round_number=r)
        before = sent.setdefault(r, now)
        np.testing.assert_array_equal(before.data["fc.weight"], now.data["fc.weight"])
    assert [e.spend.round for e in entries(site)] == [7, 8, 9]


def test_a_round_too_old_to_be_stored_is_not_released_again(site, update, global_state):
    for r in range(5):
        site.send(chain(), site.result(update), global_state, round_number=r)
    assert len(list(site.root.rglob("medleak_state/**/*.safetensors"))) == 3
    with pytest.raises(ContentBlockedException, match="a round is released once"):
        site.send(chain(), site.result(update), global_state, round_number=0)


def test_another_model_in_the_same_round_gets_neither_the_old_nor_a_new_update(
    site, update, global_state
):
    site.send(chain(), site.result(update), global_state)
    other = {**global_state, "fc.weight": global_state["fc.weight"] + 1}
    with pytest.raises(ContentBlockedException, match="for another model"):
        site.send(chain(), site.result(update), other)
    assert len(entries(site)) == 1


def test_a_repetition_is_said_in_the_log(site, update, global_state, caplog):
    site.send(chain(), site.result(update), global_state)
    site.send(chain(), site.result(update), global_state)
    assert "was asked for again" in caplog.text


@pytest.mark.parametrize("round_number", [-1, 2**70, None])
def test_a_round_that_is_no_small_number_is_refused(site, update, global_state, round_number):
    with pytest.raises(ContentBlockedException, match="must be known to keep a ledger"):
        site.send(chain(), site.result(update), global_state, round_number=round_number)


def test_the_same_round_of_another_job_is_another_release(site, update, global_state):
    site.send(chain(), site.result(update), global_state)
    site.send(chain(), site.result(update), global_state, job="job-2")
    assert [e.spend.job for e in entries(site)] == ["job-1", "job-2"]


def test_a_heuristic_is_recorded_as_epsilon_none(site, update, global_state):
    heuristic = [PercentileGaussian(sigma0=10), PrivacyLedger(target_delta=1e-5)]
    sent = site.send(heuristic, site.result(update), global_state)
    assert sent.meta["medleak_ledger"]["epsilon"] == "none (heuristic)"
    assert entries(site)[0].spend.guarantees == ()
    assert entries(site)[0].spend.defences[0]["name"] == "percentile_gaussian"


def test_post_processing_keeps_the_guarantee(site, update, global_state):
    mechanism, book = chain()
    site.send([mechanism, Quantisation(bits=8), book], site.result(update), global_state)
    assert entries(site)[0].epsilons[0] == pytest.approx(accounting.epsilon([ONE], 1e-5))


def test_dp_sgd_and_a_client_mechanism_hold_side_by_side(site, update, global_state):
    both = [DeclareDPSGD(), *chain()]
    trained = without_statistics(update)
    sent = site.send(both, site.result(trained, dp_sgd=DP_SGD), global_state)
    units = [e["unit"] for e in sent.meta["medleak_ledger"]["epsilon"]]
    assert units == ["record", "client"]
    record = accounting.dp_sgd(**DP_SGD)
    assert entries(site)[0].epsilons[0] == pytest.approx(accounting.epsilon([record.event], 1e-5))


@pytest.mark.parametrize("declared", [None, {}, {**DP_SGD, "more": 1}, {**DP_SGD, "steps": 0}, "x"])
def test_dp_sgd_that_is_not_declared_properly_stays_home(declared, site, update, global_state):
    with pytest.raises(ContentBlockedException, match=r"dp_sgd|steps"):
        site.send(DeclareDPSGD(), site.result(update, dp_sgd=declared), global_state)


def test_a_script_cannot_declare_a_mechanism_that_did_not_run(site, update, global_state):
    forged = [{"name": "clipped_gaussian", "args": {"noise_multiplier": 1e6}}]
    heuristic = [PercentileGaussian(sigma0=10), PrivacyLedger(target_delta=1e-5)]
    sent = site.send(heuristic, site.result(update, medleak_defences=forged), global_state)
    assert [d["name"] for d in sent.meta["medleak_defences"]] == ["percentile_gaussian"]
    assert entries(site)[0].spend.guarantees == ()


def test_metrics_do_not_leave_beside_a_mechanism(site, update, global_state):
    result = site.result(update, initial_metrics={"accuracy": 0.9}, NUM_STEPS_CURRENT_ROUND=2)
    sent = site.send(chain(), result, global_state)
    assert sent.meta.keys() == {"medleak_defences", "medleak_ledger"}


def test_the_budget_refuses_the_round_before_training(site, update, global_state):
    limit = accounting.epsilon([ONE] * 2, 1e-5) * 1.001
    budget = PrivacyBudget(planned=PLANNED, target_epsilon=limit, target_delta=1e-5)
    for r in range(2):
        ctx, data = site.task(global_state, round_number=r)
        assert budget.process(data, ctx) is data
        site.send(chain(target_epsilon=limit), site.result(update), global_state, round_number=r)
    ctx, data = site.task(global_state, round_number=2)
    with pytest.raises(ContentBlockedException, match="One more release would bring ε to"):
        budget.process(data, ctx)
    with pytest.raises(ContentBlockedException, match="One more release would bring ε to"):
        site.send(chain(target_epsilon=limit), site.result(update), global_state, round_number=2)
    assert len(entries(site)) == 2


def test_a_round_that_is_accounted_for_may_be_repeated_on_a_spent_budget(
    site, update, global_state
):
    limit = accounting.epsilon([ONE], 1e-5) * 1.001
    site.send(chain(target_epsilon=limit), site.result(update), global_state, round_number=0)
    budget = PrivacyBudget(planned=PLANNED, target_epsilon=limit, target_delta=1e-5)
    ctx, data = site.task(global_state, round_number=0)
    assert budget.process(data, ctx) is data


def test_after_a_bare_round_no_budget_can_be_kept(site, update, global_state):
    site.send(
        [PercentileGaussian(sigma0=1), PrivacyLedger(target_delta=1e-5)],
        site.result(update),
        global_state,
        round_number=0,
    )
    budget = PrivacyBudget(planned=PLANNED, target_epsilon=1e6, target_delta=1e-5)
    ctx, data = site.task(global_state, round_number=1)
    with pytest.raises(ContentBlockedException, match="ε to inf"):
        budget.process(data, ctx)


def test_the_budget_is_asked_again_for_what_the_filters_really_did(site, update, global_state):
    limit = accounting.epsilon([ONE], 1e-5) * 1.2
    budget = PrivacyBudget(planned=PLANNED, target_epsilon=limit, target_delta=1e-5)
    weaker = [ClippedGaussian(max_grad_norm=1, noise_multiplier=2), PrivacyLedger(1e-5)]
    heuristic = [PercentileGaussian(sigma0=1), PrivacyLedger(1e-5)]
    for filters, message in ((weaker, "would bring ε to"), (heuristic, "no such guarantee")):
        ctx, data = site.task(global_state)
        GlobalModel().process(budget.process(data, ctx), ctx)
        with pytest.raises(ContentBlockedException, match=message):
            site.through(filters, site.result(update), ctx)
    assert entries(site) == ()


def test_the_budget_takes_no_round_in_turn_for_a_repetition_that_is_not_stored(
    site, update, global_state
):
    limit = accounting.epsilon([ONE], 1e-5) * 1.2
    budget = PrivacyBudget(planned=PLANNED, target_epsilon=limit, target_delta=1e-5)
    site.send(chain(), site.result(update), global_state, round_number=0)
    for stored in site.root.rglob("medleak_state/**/*.safetensors"):
        stored.unlink()
    ctx, data = site.task(global_state, round_number=0)
    with pytest.raises(ContentBlockedException, match="One more release"):
        budget.process(data, ctx)


def test_a_damaged_ledger_stops_training_and_sending(site, update, global_state):
    (site.root / "medleak_ledger.jsonl").write_text('{"number": 1}\n')
    budget = PrivacyBudget(planned=PLANNED, target_epsilon=8, target_delta=1e-5)
    ctx, data = site.task(global_state)
    with pytest.raises(ContentBlockedException, match="damaged"):
        budget.process(data, ctx)
    with pytest.raises(ContentBlockedException, match="damaged"):
        site.send(chain(), site.result(update), global_state)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"planned": "percentile_gaussian:sigma0=10"}, "is a heuristic"),
        ({"planned": "dp_sgd:noise_multiplier=1,steps=2"}, "lacks sample_rate"),
        ({"planned": "magic"}, "Unknown defence"),
        ({"target_epsilon": 0}, "target_epsilon"),
        ({"target_delta": 0}, "target_delta"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused_at_the_start(args, message):
    good = {"planned": PLANNED, "target_epsilon": 8, "target_delta": 1e-5}
    with pytest.raises(ValueError, match=message):
        PrivacyBudget(**{**good, **args})


CLIENT = """
    import json, os, signal, sys
    import numpy as np
    from types import SimpleNamespace
    from nvflare.apis.dxo import DXO, DataKind, from_shareable
    from nvflare.apis.fl_context import FLContext
    from medleak.filters.privacy import ledger
    from medleak.filters.adapters import ClippedGaussian, GlobalModel, PrivacyLedger

    root, moment, out = sys.argv[1:]

    def die(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    if moment == "before the entry":
        ledger.Book.append = die
    if moment == "in the middle of the entry":
        whole = os.write
        os.write = lambda fd, data: (whole(fd, data[: len(data) // 2]), die())
    state = {"fc.weight": np.zeros(8, np.float32)}
    data = DXO(DataKind.WEIGHTS, data=state).to_shareable()
    data.set_header("current_round", 5)
    workspace = SimpleNamespace(get_root_dir=lambda: root)
    ctx = FLContext()
    for key, value in (
        ("__task_name__", "train"), ("__task_id__", "t"), ("__run_num__", "job-1"),
        ("__identity_name__", "site-1"),
        ("__engine__", SimpleNamespace(get_workspace=lambda: workspace)),
    ):
        ctx.set_prop(key, value, private=True, sticky=False)
    GlobalModel().process(data, ctx)
    update = {"fc.weight": np.random.default_rng().normal(size=8).astype(np.float32)}
    result = DXO(DataKind.WEIGHT_DIFF, data=update).to_shareable()
    result = ClippedGaussian(max_grad_norm=1, noise_multiplier=8).process(result, ctx)
    result = PrivacyLedger(target_delta=1e-5).process(result, ctx)
    if moment == "after the entry":
        die()
    with open(out, "w") as file:  # this is the network: what is here, the server has
        json.dump(from_shareable(result).data["fc.weight"].tolist(), file)
    if moment == "after sending":
        die()
"""


def run_client(site, moment):
    out = site.root / f"sent {moment}.json"
    script = site.root / "client.py"
    script.write_text(textwrap.dedent(CLIENT))
    done = subprocess.run(
        [sys.executable, str(script), str(site.root), moment, str(out)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (0 if moment == "never" else -signal.SIGKILL), done.stderr
    return json.loads(out.read_text()) if out.exists() else None


@pytest.mark.parametrize(
    ("moment", "counted"),
    [
        ("before the entry", 0),
        ("in the middle of the entry", 0),
        ("after the entry", 1),
        ("after sending", 1),
    ],
)
def test_a_client_killed_in_mid_round_neither_loses_epsilon_nor_spends_it_twice(
    site, moment, counted
):
    sent = run_client(site, moment)
    assert len(entries(site)) == counted
    again = run_client(site, "never")
    assert [e.spend.round for e in entries(site)] == [5]
    assert entries(site)[0].epsilons[0] == pytest.approx(accounting.epsilon([ONE], 1e-5))
    if sent is not None:
        assert again == sent
