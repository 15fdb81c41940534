"""Tests of medleak.filters.adapters.rim: one update in, protected or kept at home."""

import numpy as np
import pytest
import torch
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.shareable import Shareable, make_reply

from medleak.filters.adapters import (
    GaussianPerturbation,
    GlobalModel,
    PercentileGaussian,
    PrivacyLedger,
    TopK,
)
from medleak.filters.adapters.rim import remember_own_entries


def test_the_update_is_noised_and_the_defence_declared(update, global_state, site):
    sent = site.send(PercentileGaussian(sigma0=10), site.result(update, loss=0.5), global_state)
    assert sent.data.keys() == update.keys()
    assert not np.array_equal(sent.data["fc.weight"], update["fc.weight"])
    assert sent.meta["loss"] == 0.5
    assert sent.meta["medleak_defences"] == [
        {
            "name": "percentile_gaussian",
            "args": {"sigma0": 10, "percentile": 95.0, "scope": "update", "buffers": "noise"},
        }
    ]


def test_torch_tensors_stay_torch_tensors(update, global_state, site):
    tensors = {n: torch.as_tensor(v) for n, v in update.items()}
    state = {n: torch.as_tensor(v) for n, v in global_state.items()}
    sent = site.send(PercentileGaussian(sigma0=1), site.result(tensors), state)
    for name, value in sent.data.items():
        assert isinstance(value, torch.Tensor)
        assert value.dtype == tensors[name].dtype
        assert value.shape == tensors[name].shape
    assert not torch.equal(sent.data["fc.weight"], tensors["fc.weight"])


def test_noise_differs_every_time_unless_seeded(update, global_state, site):
    def sent(seed, **kwargs):
        result = site.result(update)
        filter_ = PercentileGaussian(sigma0=1, seed=seed)
        return site.send(filter_, result, global_state, **kwargs).data["fc.weight"]

    assert not np.array_equal(sent(None), sent(None))
    assert np.array_equal(sent(5), sent(5))
    assert not np.array_equal(sent(5), sent(5, round_number=4))


def test_a_seed_is_logged_as_unsafe(update, global_state, caplog, site):
    site.send(PercentileGaussian(sigma0=1, seed=5), site.result(update), global_state)
    assert "UNSAFE: noise from seed 5" in caplog.text


def test_seeded_noise_without_a_round_is_refused(update, global_state, site):
    with pytest.raises(ContentBlockedException, match="carries no round number"):
        site.send(
            PercentileGaussian(sigma0=1, seed=5),
            site.result(update),
            global_state,
            round_number=None,
        )


def test_an_error_reply_goes_on_without_its_content(update, global_state, site):
    failed = site.result(update)
    failed.set_return_code(ReturnCode.EXECUTION_EXCEPTION)
    ctx, _ = site.task(global_state)
    reply = PercentileGaussian(sigma0=1).process(failed, ctx)
    assert reply == make_reply(ReturnCode.EXECUTION_EXCEPTION)


def test_an_invented_return_code_carries_nothing_out(global_state, site):
    reply = PercentileGaussian(sigma0=1).process(make_reply("secret"), site.task(global_state)[0])
    assert reply.get_return_code() == ReturnCode.TASK_RESULT_FILTER_ERROR


def test_a_site_policy_sees_the_global_model_through_its_data_filter(update, global_state, site):
    ctx, data = site.task(global_state)
    assert GlobalModel().process(data, ctx) is data
    ctx.set_prop(FLContextKey.TASK_DATA, None, private=True, sticky=False)
    sent = from_shareable(PercentileGaussian(sigma0=1).process(site.result(update), ctx))
    assert (global_state["bn1.running_var"] + sent.data["bn1.running_var"] > 0).all()


def test_training_code_cannot_change_the_remembered_statistics(update, global_state, site):
    ctx, data = site.task({n: v.copy() for n, v in global_state.items()})
    filter_ = PercentileGaussian(sigma0=100)
    filter_.handle_event(EventType.AFTER_TASK_DATA_FILTER, ctx)
    from_shareable(data).data["bn1.running_var"][:] = 1e6
    sent = from_shareable(filter_.process(site.result(update), ctx))
    assert (global_state["bn1.running_var"] + sent.data["bn1.running_var"] > 0).all()


def test_an_update_without_a_seen_global_model_stays_home(update, global_state, site):
    ctx, _ = site.task(global_state)
    with pytest.raises(ContentBlockedException, match="global model of this task was not seen"):
        PercentileGaussian(sigma0=1).process(site.result(update), ctx)


def test_the_global_model_of_another_task_does_not_count(update, global_state, site):
    ctx, _ = site.task(global_state)
    filter_ = PercentileGaussian(sigma0=1)
    filter_.handle_event(EventType.AFTER_TASK_DATA_FILTER, ctx)
    ctx.set_prop(FLContextKey.TASK_ID, "t2", private=True, sticky=False)
    with pytest.raises(ContentBlockedException, match="was not seen"):
        filter_.process(site.result(update), ctx)


def test_an_unreadable_global_model_is_named_as_the_reason(update, site):
    filter_ = PercentileGaussian(sigma0=1)
    ctx, _ = site.task({"w": np.zeros(2)})
    ctx.set_prop(FLContextKey.TASK_DATA, Shareable(), private=True, sticky=False)
    filter_.handle_event(EventType.AFTER_TASK_DATA_FILTER, ctx)
    with pytest.raises(ContentBlockedException, match=r"could not be read: .*not a valid DXO"):
        filter_.process(site.result(update), ctx)


def extra_content(site, update):
    result = site.result(update)
    result["second_model"] = update
    return result


def big_header(site, update):
    result = site.result(update)
    result.set_header("note", "x" * 5000)
    return result


REFUSED = {
    "metrics": (
        lambda site, u: DXO(DataKind.METRICS, data={"a": 1}).to_shareable(),
        "not WEIGHT_DIFF",
    ),
    "no DXO": (lambda site, u: Shareable({"weights": u}), "beside its DXO"),
    "nothing": (lambda site, u: Shareable(), "not a valid DXO"),
    "empty update": (lambda site, u: site.result({}), "update is empty"),
    "something beside the DXO": (extra_content, "carries 'second_model'"),
    "array in the metadata": (
        lambda site, u: site.result(u, copy=u["fc.weight"]),
        "holds a ndarray",
    ),
    "large metadata": (
        lambda site, u: site.result(u, copy=u["fc.weight"].tolist()),
        "more than 4096",
    ),
    "large header": (big_header, "headers of the result take"),
    "bfloat16": (
        lambda site, u: site.result({"w": torch.zeros(2, dtype=torch.bfloat16)}),
        "bfloat16",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_anything_but_a_small_clean_weight_difference_stays_home(case, update, global_state, site):
    make, message = REFUSED[case]
    with pytest.raises(ContentBlockedException, match=message):
        site.send(PercentileGaussian(sigma0=1), make(site, update), global_state)


def whole(update, state):
    """The result of a job that sends whole weights."""
    data = {n: np.asarray(state[n] + v, v.dtype) for n, v in update.items()}
    return DXO(DataKind.WEIGHTS, data=data).to_shareable()


def test_whole_weights_get_the_noise_of_their_difference(update, global_state, site):
    filter_ = PercentileGaussian(sigma0=1, seed=1)
    noised = site.send(filter_, site.result(update), global_state).data
    sent = site.send(filter_, whole(update, global_state), global_state).data
    for name, value in noised.items():
        rounding = 4 * np.spacing(np.abs(sent[name]).max()) + 1e-3 * np.abs(value).max()
        np.testing.assert_allclose(sent[name] - global_state[name], value, rtol=0, atol=rounding)


def test_noise_that_the_spacing_of_whole_weights_would_swallow_is_refused(
    update, global_state, site
):
    faint = GaussianPerturbation(scale=1e-9, buffers="drop")
    site.send(faint, site.result(update), global_state)  # a difference has smaller steps
    with pytest.raises(ContentBlockedException, match="less than the spacing of float32"):
        site.send(faint, whole(update, global_state), global_state)


def test_whole_weights_pass_one_filter_after_another(update, global_state, site):
    chain = [PercentileGaussian(sigma0=1), TopK(fraction=0.5), PrivacyLedger(target_delta=1e-5)]
    sent = site.send(chain, whole(update, global_state), global_state)
    assert sent.data_kind == DataKind.WEIGHTS
    assert [d["name"] for d in sent.meta["medleak_defences"]] == ["percentile_gaussian", "top_k"]
    same = np.mean(sent.data["conv.weight"] == global_state["conv.weight"])
    assert 0.4 < same < 0.6  # what top-k leaves out is the server's own


def test_whole_weights_with_values_of_the_site_alone_stay_home(update, global_state, site):
    ctx, _ = site.task(global_state)
    GlobalModel().process(site.task(global_state)[1], ctx)
    remember_own_entries(ctx)
    with pytest.raises(ContentBlockedException, match="entries of its own"):
        PercentileGaussian(sigma0=1).process(whole(update, global_state), ctx)


def test_whole_weights_without_an_entry_or_with_another_index_stay_home(update, global_state, site):
    state = global_state | {"positions": np.arange(4), "mask": np.array([True, False])}
    still = {n: np.zeros_like(state[n]) for n in ("positions", "mask")}
    given = whole(update | {"positions": still["positions"]}, state)
    given["DXO"]["data"]["mask"] = state["mask"]
    sent = site.send(PercentileGaussian(sigma0=1), given, state).data
    assert np.array_equal(sent["positions"], np.arange(4))
    assert np.array_equal(sent["mask"], state["mask"])
    for name, other in (("positions", np.arange(4)[::-1]), ("mask", ~state["mask"])):
        given = whole(update | {"positions": still["positions"]}, state)
        given["DXO"]["data"] |= {"mask": state["mask"], name: other}
        with pytest.raises(ContentBlockedException, match=f"{name} has dtype"):
            site.send(PercentileGaussian(sigma0=1), given, state)
    del update["bn1.bias"]
    with pytest.raises(ContentBlockedException, match=r"lacks bn1\.bias and 0 more"):
        site.send(PercentileGaussian(sigma0=1), whole(update, global_state), global_state)


def test_an_update_that_lost_an_entry_stays_home(update, global_state, site):
    del update["bn1.bias"]
    with pytest.raises(ContentBlockedException, match=r"lacks bn1\.bias and 0 more"):
        site.send(PercentileGaussian(sigma0=1), site.result(update), global_state)


def test_what_one_filter_withholds_the_next_does_not_miss(update, global_state, site):
    ctx, _ = site.task(global_state)
    first, second = PercentileGaussian(sigma0=1, buffers="drop"), PercentileGaussian(sigma0=1)
    first.handle_event(EventType.AFTER_TASK_DATA_FILTER, ctx)
    sent = second.process(first.process(site.result(update), ctx), ctx)
    assert "bn1.running_mean" not in from_shareable(sent).data


def test_a_renamed_task_stays_home(update, global_state, site):
    with pytest.raises(ContentBlockedException, match="The task is 'train2'"):
        site.send(PercentileGaussian(sigma0=1), site.result(update), global_state, name="train2")


@pytest.mark.parametrize("tasks", ["train", [], ["*"], [1]])
def test_tasks_must_be_names(tasks):
    with pytest.raises(ValueError, match="tasks must"):
        PercentileGaussian(sigma0=1, tasks=tasks)
