"""Tests of medleak.filters.adapters.local: FedBN by filters alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.fl_constant import FLContextKey
from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor
from nvflare.client.config import TransferType

from medleak.filters.adapters import GlobalModel, PercentileGaussian, RestoreWithheld, Withhold


def round_at(site, state, update, round_number, **kwargs):
    """One round under a site policy: data filters, training, result filters."""
    ctx, data = site.task(state, round_number=round_number, task_id=f"t{round_number}")
    for filter_ in (RestoreWithheld(), GlobalModel()):
        data = filter_.process(data, ctx)
    received = from_shareable(data).data
    for name in update:  # training counts on from the whole part of an averaged counter
        if name.endswith("num_batches_tracked"):
            before = np.asarray(received[name])
            update[name] = np.asarray(np.floor(before) + 3 - before)
    sent = Withhold(**kwargs).process(site.result(update), ctx)
    return received, from_shareable(sent).data


def test_statistics_go_on_from_the_sites_own(site, update, global_state):
    first, sent = round_at(site, global_state, update, 0)
    np.testing.assert_array_equal(first["bn1.running_mean"], global_state["bn1.running_mean"])
    assert "bn1.running_mean" not in sent
    second, _ = round_at(site, global_state, update, 1)
    own = global_state["bn1.running_mean"] + update["bn1.running_mean"]
    np.testing.assert_array_equal(second["bn1.running_mean"], own)
    np.testing.assert_array_equal(second["fc.weight"], global_state["fc.weight"])
    third, _ = round_at(site, global_state, update, 2)
    np.testing.assert_array_equal(third["bn1.running_mean"], own + update["bn1.running_mean"])


def test_whole_weights_with_the_sites_own_values_stay_home(site, update, global_state):
    """They would tell the server what it is not to see; before training where it can be known."""
    round_at(site, global_state, update, 0)
    ctx, data = site.task(global_state, round_number=1)
    for filter_ in (RestoreWithheld(), GlobalModel()):
        data = filter_.process(data, ctx)
    whole = {
        n: np.asarray(np.floor(v) if "tracked" in n else v)
        for n, v in from_shareable(data).data.items()
    }
    whole["fc.weight"] = whole["fc.weight"] + update["fc.weight"]
    for filter_ in (Withhold(), PercentileGaussian(sigma0=1)):
        with pytest.raises(ContentBlockedException, match="entries of its own"):
            filter_.process(DXO(DataKind.WEIGHTS, data=whole).to_shareable(), ctx)
    executor = ClientAPIExecutor(
        execution_mode="in_process",
        task_script_path="client.py",
        params_transfer_type=TransferType.FULL,
    )
    runner = SimpleNamespace(task_router=SimpleNamespace(task_table={"train": executor}))
    ctx.set_prop(FLContextKey.RUNNER, runner, private=True, sticky=False)
    with pytest.raises(ContentBlockedException, match="keeps for itself"):
        RestoreWithheld().process(site.task(global_state)[1], ctx)


def test_a_repeated_round_starts_from_the_same_statistics(site, update, global_state):
    round_at(site, global_state, update, 0)
    first, _ = round_at(site, global_state, update, 1)
    again, _ = round_at(site, global_state, update, 1)
    np.testing.assert_array_equal(first["bn1.running_var"], again["bn1.running_var"])


def test_types_of_the_global_model_are_kept(site, update, global_state):
    state = {n: torch.as_tensor(v) for n, v in global_state.items()}
    tensors = {n: torch.as_tensor(v) for n, v in update.items()}
    round_at(site, state, tensors, 0)
    received, _ = round_at(site, state, tensors, 1)
    for name, value in received.items():
        assert isinstance(value, torch.Tensor)
        assert (value.dtype, value.shape) == (state[name].dtype, state[name].shape)


def test_without_keeping_nothing_is_written(site, update, global_state):
    round_at(site, global_state, update, 0, keep=False)
    assert not list(site.root.rglob("*"))


def test_noise_may_follow(site, update, global_state):
    chain = [Withhold(), PercentileGaussian(sigma0=1)]
    sent = site.send(chain, site.result(update), global_state)
    assert "bn1.running_mean" not in sent.data
    assert not np.array_equal(sent.data["fc.weight"], update["fc.weight"])
    assert [d["name"] for d in sent.meta["medleak_defences"]] == ["withhold", "percentile_gaussian"]


def test_values_of_another_model_are_refused(site, update, global_state):
    round_at(site, global_state, update, 0)
    del global_state["bn1.running_mean"]
    ctx, data = site.task(global_state, round_number=1)
    with pytest.raises(ContentBlockedException, match=r"bn1\.running_mean is kept at this site"):
        RestoreWithheld().process(data, ctx)


def test_a_task_without_a_round_is_refused(site, global_state):
    ctx, data = site.task(global_state, round_number=None)
    with pytest.raises(ContentBlockedException, match="no round number"):
        RestoreWithheld().process(data, ctx)


def test_a_job_name_from_the_network_is_never_a_path(site, update, global_state):
    site.send(Withhold(), site.result(update), global_state, job="../../evil")
    written = [p.relative_to(site.root).parts for p in site.root.rglob("*.safetensors")]
    assert [parts[0] for parts in written] == ["medleak_state"]
    assert len(written[0][1]) == 64
