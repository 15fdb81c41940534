"""Tests of what a task's result may consist of."""

import numpy as np
import pytest
import torch
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.shareable import Shareable

from medleak.filters.adapters import ClippedGaussian, PercentileGaussian, Sign, Withhold
from medleak.filters.adapters.payload import META_LIMIT, as_numpy, check_meta, known_code, unwrap
from medleak.filters.privacy.controls import CONTROLS, SERVERS, told_update
from medleak.filters.update import UpdateError


def result(**extra):
    made = DXO(DataKind.WEIGHT_DIFF, data={"w": np.ones(2)}).to_shareable()
    made.update(extra)
    return made


def test_a_bare_weight_difference_is_unwrapped():
    np.testing.assert_array_equal(unwrap(result()).data["w"], np.ones(2))


@pytest.mark.parametrize("kind", [DataKind.COLLECTION, DataKind.STATISTICS, DataKind.ANALYTIC])
def test_another_kind_of_data_is_refused_by_name(kind):
    with pytest.raises(UpdateError, match="not WEIGHT_DIFF or WEIGHTS"):
        unwrap(DXO(kind, data={"w": np.ones(2)}).to_shareable())


def test_what_lies_beside_the_dxo_is_refused_by_name():
    with pytest.raises(UpdateError, match="carries 'images' beside its DXO"):
        unwrap(result(images=[1]))


@pytest.mark.parametrize("value", [np.ones(3), "x" * META_LIMIT])
def test_a_header_is_small_and_plain(value):
    made = result()
    made.set_header("note", "x" * 100)
    unwrap(made)
    made.set_header("note", value)
    with pytest.raises(UpdateError, match="The headers of the result"):
        unwrap(made)


def test_metadata_may_hold_numbers_text_and_numpy_scalars_up_to_the_limit():
    check_meta({"loss": np.float32(0.5), "steps": 3, "text": "x" * (META_LIMIT - 100)})
    with pytest.raises(UpdateError, match=f"more than {META_LIMIT}"):
        check_meta({"text": "x" * META_LIMIT})
    with pytest.raises(UpdateError, match="holds a ndarray"):
        check_meta({"loss": np.ones(1)})


@pytest.mark.parametrize("code", ["weights=0.5", None, 7, "__module__"])
def test_only_codes_of_nvflare_leave_as_a_code(code):
    assert known_code(ReturnCode.OK) == ReturnCode.OK
    assert known_code(code) == ReturnCode.TASK_RESULT_FILTER_ERROR


def test_tensors_become_arrays_and_results_tensors_again():
    values, restore = as_numpy({"t": torch.ones(2), "n": np.ones(3)})
    assert all(isinstance(v, np.ndarray) for v in values.values())
    back = restore({n: 2 * v for n, v in values.items()})
    assert torch.equal(back["t"], 2 * torch.ones(2))
    assert isinstance(back["n"], np.ndarray)
    assert restore({"n": values["n"]}).keys() == {"n"}  # what a defence drops stays away


@pytest.mark.parametrize("data", [{"t": torch.ones(2, dtype=torch.bfloat16)}, [1.0], None])
def test_data_that_numpy_does_not_know_are_refused(data):
    with pytest.raises(UpdateError, match=r"numpy does not know|not a dict of arrays"):
        as_numpy(data)


def test_a_shareable_without_a_dxo_is_no_update():
    with pytest.raises((UpdateError, ValueError)):
        unwrap(Shareable())


K_ETA = 4 * 0.05


def scaffold(site, update, state, servers, *, wrong=0.0):
    """A result as NVFlare's helper of SCAFFOLD makes it, and its task's context."""
    servers = {n: np.asarray(v) for n, v in servers.items()}
    names = [n for n in update if n in servers]
    controls = {n: -servers[n] - update[n] / np.float32(K_ETA) + wrong for n in names}
    ctx, data = site.task(state)
    dxo = from_shareable(data)
    dxo.meta[SERVERS] = servers
    ctx.set_prop(FLContextKey.TASK_DATA, dxo.to_shareable(), private=True, sticky=False)
    hp = {"n_images": 4, "n_steps": 4, "batch_size": 1, "local_epochs": 1, "lr": 0.05}
    return site.result(update, hp=hp, **{CONTROLS: controls}), ctx


def trained_names(state):
    return [n for n in state if n.endswith(("weight", "bias"))]


def through(site, filters, result, ctx):
    for each in filters:
        each.handle_event(EventType.AFTER_TASK_DATA_FILTER, ctx)
    return site.through(filters, result, ctx)


def told_by(sent, servers):
    return told_update(sent.meta[CONTROLS], servers, K_ETA)


@pytest.mark.parametrize("torch_", [False, True])
def test_an_attack_on_control_variates_finds_the_noised_update(update, global_state, site, torch_):
    names = trained_names(global_state)
    servers = {n: np.full_like(global_state[n], 0.3) for n in names}
    result, ctx = scaffold(site, update, global_state, servers)
    bare = from_shareable(result)
    np.testing.assert_allclose(  # in clear they would be the update
        told_by(bare, servers)["fc.weight"], update["fc.weight"], rtol=1e-3, atol=1e-5
    )
    if torch_:
        bare.meta[CONTROLS] = {n: torch.as_tensor(v) for n, v in bare.meta[CONTROLS].items()}
        result = bare.to_shareable()
    filters = [PercentileGaussian(sigma0=10), Sign()]
    sent = through(site, filters, result, ctx)
    told = told_by(sent, servers)
    assert set(told) == set(names)
    for name in names:
        assert isinstance(sent.meta[CONTROLS][name], torch.Tensor) == torch_
        np.testing.assert_allclose(told[name], sent.data[name], rtol=1e-3, atol=1e-4)
    assert abs(np.corrcoef(told["fc.weight"].ravel(), update["fc.weight"].ravel())[0, 1]) < 0.5


def test_controls_of_what_is_withheld_do_not_leave(update, global_state, site):
    servers = {n: np.zeros_like(global_state[n]) for n in trained_names(global_state)}
    result, ctx = scaffold(site, update, global_state, servers)
    sent = through(site, [Withhold(layers=["fc.*"], keep=False)], result, ctx)
    assert not [n for n in sent.meta[CONTROLS] if n.startswith("fc.")]
    assert set(sent.meta[CONTROLS]) == set(trained_names(global_state)) & set(sent.data)


def test_controls_that_tell_something_else_stay_at_home_with_the_update(update, global_state, site):
    servers = {n: np.zeros_like(global_state[n]) for n in trained_names(global_state)}
    result, ctx = scaffold(site, update, global_state, servers, wrong=0.5)
    with pytest.raises(ContentBlockedException, match="it tells something else"):
        through(site, [PercentileGaussian(sigma0=1)], result, ctx)


def test_under_an_epsilon_controls_need_a_schedule_that_is_disclosed(update, global_state, site):
    servers = {n: np.zeros_like(global_state[n]) for n in trained_names(global_state)}
    update = {n: v for n, v in update.items() if not n.endswith("num_batches_tracked")}
    state = {n: v for n, v in global_state.items() if n in update}
    result, ctx = scaffold(site, update, state, servers)
    with pytest.raises(ContentBlockedException, match=r'disclose=\["schedule"\]'):
        through(site, [ClippedGaussian(max_grad_norm=1, noise_multiplier=1)], result, ctx)
    result, ctx = scaffold(site, update, state, servers)
    made = ClippedGaussian(max_grad_norm=1, noise_multiplier=1, disclose=["schedule"])
    sent = through(site, [made], result, ctx)
    np.testing.assert_allclose(
        told_by(sent, servers)["fc.weight"], sent.data["fc.weight"], rtol=1e-3, atol=1e-5
    )


def test_a_servers_control_that_cannot_be_read_keeps_the_update_at_home(update, global_state, site):
    servers = {n: np.zeros_like(global_state[n]) for n in trained_names(global_state)}
    result, ctx = scaffold(site, update, global_state, servers)
    data = from_shareable(ctx.get_prop(FLContextKey.TASK_DATA))
    data.meta[SERVERS] = "none"
    ctx.set_prop(FLContextKey.TASK_DATA, data.to_shareable(), private=True, sticky=False)
    with pytest.raises(ContentBlockedException, match="control of this task could not be read"):
        through(site, [PercentileGaussian(sigma0=1)], result, ctx)
