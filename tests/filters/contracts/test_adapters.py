"""The contract of every result filter, ours and NVFlare's under Guard: one table."""

import importlib
import inspect
import json

import numpy as np
import pytest
import torch
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.filter import ContentBlockedException, Filter
from nvflare.apis.shareable import Shareable
from nvflare.job_config.fed_job_config import FedJobConfig

from medleak.filters import adapters, registry
from medleak.filters.adapters.rim import FailClosedFilter
from medleak.filters.registry import defence

NVFLARE = "nvflare.app_common.filters"
ROWS = {
    "PercentileGaussian": {"sigma0": 10},
    "GaussianPerturbation": {"scale": 0.01},
    "LaplacePerturbation": {"level": 100, "lr": 0.01},
    "ClippedGaussian": {"max_grad_norm": 1.0, "noise_multiplier": 2.0},
    "ClippedLaplace": {
        **{"max_grad_norm": 1.0, "target_epsilon": 8.0, "target_delta": 1e-5},
        **{"rounds": 10, "buffers": "noise"},
    },
    "TopK": {"fraction": 0.1, "error_feedback": True},
    "RandomK": {"fraction": 0.1},
    "Sign": {"error_feedback": True},
    "Quantisation": {"bits": 4},
    "Withhold": {"layers": ["fc.*"]},
    "PrivacyLedger": {"target_delta": 1e-5},
    "DeclareDPSGD": {},
    "MinimumBatch": {"step": 1, "round": 1},
    "SentinelNotes": {},
    "Guard": {
        "filter_path": f"{NVFLARE}.percentile_privacy.PercentilePrivacy",
        "settings": {"percentile": 10, "gamma": 0.01},
    },
    "Guard 2": {
        "filter_path": f"{NVFLARE}.svt_privacy.SVTPrivacy",
        "settings": {"fraction": 0.1, "epsilon": 1.0, "noise_var": 1.0, "gamma": 1e-3},
    },
    "Guard 3": {
        "filter_path": f"{NVFLARE}.exclude_vars.ExcludeVars",
        "settings": {"exclude_vars": "running_|num_batches"},
    },
}
# Filters that nobody wrote by hand: made from the defence's row, tried with its example.
ROWS |= {
    row.make.__name__: registry.declaration(defence(row.example_text))["args"]
    for row in registry.ROWS
    if row.make.__name__ not in ROWS
}
UNCHANGED = {"MinimumBatch", "PrivacyLedger", "SentinelNotes"}
META = {
    "dp_sgd": {"noise_multiplier": 2.0, "sample_rate": 0.5, "steps": 2},
    "hp": {"n_images": 8, "batch_size": 4},
}
ELSEWHERE = {
    *("WorkflowGuard", "GlobalModel", "PrivacyBudget", "RestoreWithheld", "LeakageGate"),
    *("PlannedBatch", "Rehearsal", "Sentinel"),
}


def test_every_defence_has_a_filter_of_its_name():
    assert {row.make.__name__ for row in registry.ROWS} <= set(adapters.__all__)


GUARANTEED = {"ClippedGaussian", "ClippedLaplace", "DeclareDPSGD"}


def make(row) -> FailClosedFilter:
    return getattr(adapters, row.split()[0])(**ROWS[row])


@pytest.fixture
def fitting(request, update):
    """The update, as DP-SGD would make it where that is the row: no statistics."""
    if request.getfixturevalue("row") == "DeclareDPSGD":
        return {n: np.zeros_like(v) if "running" in n else v for n, v in update.items()}
    return update


def test_every_result_filter_has_a_row():
    assert {r.split()[0] for r in ROWS} | ELSEWHERE == set(adapters.__all__)


@pytest.mark.parametrize("row", ROWS)
def test_what_leaves_keeps_names_types_and_counters(row, site, fitting, global_state):
    update = fitting
    before = {n: v.copy() for n, v in update.items()}
    sent = site.send(make(row), site.result(update, **META), global_state)
    assert sent.data_kind == DataKind.WEIGHT_DIFF
    assert sent.data
    for name, value in sent.data.items():
        assert type(value) is type(update[name]), name
        assert (value.dtype, value.shape) == (update[name].dtype, update[name].shape), name
        assert np.isfinite(value).all(), name
        if name.endswith("num_batches_tracked"):
            assert value == update[name]
        if name.endswith("running_var") and row not in UNCHANGED:
            assert (global_state[name] + value >= 0).all()
    for name, value in before.items():
        np.testing.assert_array_equal(update[name], value)


@pytest.mark.parametrize("row", ROWS)
def test_torch_tensors_stay_torch_tensors(row, site, fitting, global_state):
    update = fitting
    tensors = {n: torch.as_tensor(v) for n, v in update.items()}
    state = {n: torch.as_tensor(v) for n, v in global_state.items()}
    sent = site.send(make(row), site.result(tensors, **META), state)
    for name, value in sent.data.items():
        assert isinstance(value, torch.Tensor)
        assert (value.dtype, value.shape) == (tensors[name].dtype, tensors[name].shape)


@pytest.mark.parametrize("row", ROWS)
def test_numpy_scalars_are_kept_but_for_a_guarantee_which_takes_the_models_own_types(
    row, site, fitting, global_state
):
    fitting["bn1.num_batches_tracked"] = np.float64(2.75)
    fitting["temperature"] = np.float32(0.1)
    sent = site.send(make(row), site.result(fitting, **META), global_state)
    kept = np.ndarray if row in GUARANTEED else np.float32
    assert type(sent.data["temperature"]) is kept
    assert sent.data["temperature"].dtype == np.float32
    assert type(sent.data.get("bn1.num_batches_tracked", np.float64(0))) is np.float64


def put(name, value):
    return lambda site, u: site.result({**u, name: value}, **META)


def of_kind(kind):
    return lambda site, u: DXO(kind, data=u, meta=dict(META)).to_shareable()


def without(name):
    return lambda site, u: site.result({n: v for n, v in u.items() if n != name}, **META)


def zero(site, u):
    zeros = {n: v if n.endswith("tracked") else np.zeros_like(v) for n, v in u.items()}
    return site.result(zeros, **META)


HOSTILE = {
    "nan": put("norm.weight", np.full(32, np.nan, np.float32)),
    "inf": put("norm.weight", np.full(32, np.inf, np.float32)),
    "empty": lambda site, u: site.result({}, **META),
    "wrong kind": of_kind(DataKind.STATISTICS),
    "a difference that is called weights": of_kind(DataKind.WEIGHTS),
    "collection": lambda site, u: DXO(DataKind.COLLECTION, data={"a": 1}).to_shareable(),
    "no DXO": lambda site, u: Shareable(dict(u)),
    "unknown dtype": put("norm.weight", np.ones(32, np.complex64)),
    "half that torch alone knows": put("norm.weight", torch.ones(32, dtype=torch.bfloat16)),
    "missing key": without("norm.weight"),
    "missing counter": without("bn1.num_batches_tracked"),
    "smuggled key": put("image", np.ones(4096, np.float32)),
    "zero update": zero,
    "counter that carries weights": put("bn1.num_batches_tracked", np.ones(4096)),
    "counter that is no count": put("bn1.num_batches_tracked", np.array(0.123)),
    "python numbers": put("temperature", 0.5),
    "array in the metadata": lambda site, u: site.result(u, x=u["norm.weight"], **META),
}


def whole(update, state, changes=()):
    """The result of a job that sends whole weights, some of them others."""
    data = {n: np.asarray(state[n] + v, v.dtype) for n, v in update.items()} | dict(changes)
    return DXO(DataKind.WEIGHTS, data=data, meta=dict(META)).to_shareable()


@pytest.mark.parametrize("row", ROWS)
def test_whole_weights_leave_as_the_model_and_the_protected_difference(
    row, site, fitting, global_state
):
    given = whole(fitting, global_state)
    trained = dict(given["DXO"]["data"])
    sent = site.send(make(row), given, global_state)
    assert sent.data_kind == DataKind.WEIGHTS
    assert sent.data.keys() == global_state.keys()
    for name, value in sent.data.items():
        assert (type(value), value.dtype) == (np.ndarray, global_state[name].dtype), name
        assert np.isfinite(value).all(), name
        if name.endswith("running_var") and row not in UNCHANGED:
            assert (value >= 0).all()
    left = site.send(make(row), site.result(fitting, **META), global_state).data
    for name in global_state.keys() - left.keys():
        np.testing.assert_array_equal(sent.data[name], global_state[name])  # stays at the site
    bare = np.mean(sent.data["conv.weight"] == trained["conv.weight"])
    passes = UNCHANGED | {"DeclareDPSGD", "Withhold", "Guard 3"}
    assert bare == 1 if row in passes else bare < 0.9
    if row in GUARANTEED:
        name = "bn1.num_batches_tracked"
        assert sent.data[name] == global_state[name]  # not what was counted at the site


SMUGGLED = {
    "another entry": {"image": np.ones(4096, np.float32)},
    "another shape": {"norm.weight": np.ones(4096, np.float32)},
    "a python number": {"temperature": 0.5},
    "complex": {"norm.weight": np.ones(32, np.complex64)},
    "nan": {"norm.weight": np.full(32, np.nan, np.float32)},
    "text": {"norm.weight": np.array(["x"] * 32)},
    "a counter that carries weights": {"bn1.num_batches_tracked": np.ones(4096)},
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("case", SMUGGLED)
def test_hostile_whole_weights_stay_home(row, case, site, update, global_state):
    with pytest.raises(ContentBlockedException):
        site.send(make(row), whole(update, global_state, SMUGGLED[case]), global_state)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_results_stay_home(row, case, site, update, global_state):
    with pytest.raises(ContentBlockedException):
        site.send(make(row), HOSTILE[case](site, update), global_state)
    assert not list(site.root.rglob("*ledger*.jsonl"))


@pytest.mark.parametrize("row", ROWS)
def test_a_renamed_task_stays_home(row, site, update, global_state):
    with pytest.raises(ContentBlockedException, match="protects train"):
        site.send(make(row), site.result(update, **META), global_state, name="submit_model")


@pytest.mark.parametrize("name", adapters.__all__)
def test_arguments_are_attributes_so_that_the_exporter_keeps_them(name):
    cls = getattr(adapters, name)
    assert issubclass(cls, Filter)
    assert cls.__module__ == "medleak.filters.adapters"
    for row in (r for r in ROWS if r.split()[0] == name):
        filter_ = make(row)
        names = inspect.signature(cls.__init__).parameters.keys() - {"self"}
        assert names <= vars(filter_).keys(), "NVFlare drops arguments under other names silently"
        assert set(getattr(cls, "_always_serialize_args", ())) <= names
        args = FedJobConfig("job", min_clients=1)._get_args(filter_, None)
        assert vars(type(filter_)(**json.loads(json.dumps(args)))).keys() == vars(filter_).keys()
        for key, value in ROWS[row].items():
            assert args[key] == value


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        (f"{NVFLARE}.percentile_privacy.PercentilePrivacy", {"percentile": 10}),
        (f"{NVFLARE}.svt_privacy.SVTPrivacy", {"fraction": 0.1, "gamma": 1e-3}),
        (f"{NVFLARE}.exclude_vars.ExcludeVars", {"exclude_vars": "fc"}),
    ],
)
def test_without_guard_nvflare_sends_what_it_does_not_know(
    path, settings, site, update, global_state
):
    """Why Guard exists: the same filters alone let other content out unchanged."""

    module, _, name = path.rpartition(".")
    alone = getattr(importlib.import_module(module), name)(**settings)
    raw = DXO(DataKind.STATISTICS, data=dict(update)).to_shareable()
    ctx, _ = site.task(global_state)
    sent = alone.process(raw, ctx)["DXO"]["data"]
    np.testing.assert_array_equal(sent["fc.weight"], update["fc.weight"])
