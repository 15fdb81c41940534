"""Updates of every make, thrown at every filter: what leaves is protected as declared, or nothing.

The strategies draw what a training script or a server may send: dtypes, memory layouts, array
subclasses, names, orders, metadata and headers. Each filter has a check of what it declares.
"""

import logging
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.shareable import ReservedHeaderKey, Shareable
from tests.filters.sites import Site
from tests.security.effort import cases

from medleak.filters import adapters
from medleak.filters.adapters.rim import FailClosedFilter
from medleak.filters.noise import UNTOUCHED
from medleak.filters.update import STATISTICS, fixed_entries, kinds

BITS, FRACTION, BOUND, MULTIPLIER = 4, 0.25, 1.0, 3.0
DP_SGD = {"noise_multiplier": 2.0, "sample_rate": 0.5, "steps": 2}
NOISED = frozenset({"weight", "bn_affine", *STATISTICS})

Check = Callable[[np.ndarray, np.ndarray], bool]


def noised(raw: np.ndarray, sent: np.ndarray) -> bool:
    """No more entries as they were than rounding leaves by chance."""
    expected = UNTOUCHED * raw.size
    return int(np.count_nonzero(raw == sent)) <= expected + 6 * math.sqrt(expected) + 3


def clipped(raw: np.ndarray, sent: np.ndarray) -> bool:
    """As :func:`noised`, and no entry larger than bound and noise make it."""
    largest = BOUND + 60 * MULTIPLIER * BOUND
    return noised(raw, sent) and float(np.abs(sent).max(initial=0)) <= largest


def sparse(raw: np.ndarray, sent: np.ndarray) -> bool:
    """At most a quarter of the entries, or as many as tie."""
    kept = max(1, round(raw.size * FRACTION))
    first = np.sort(np.abs(raw), axis=None)[raw.size - kept] if raw.size else 0
    tied = int(np.count_nonzero(np.abs(raw) >= first))
    return int(np.count_nonzero(sent)) <= max(kept, tied)


def signs(raw: np.ndarray, sent: np.ndarray) -> bool:
    """One magnitude, and zero."""
    return len({*np.abs(sent).ravel().tolist()} - {0.0}) <= 1


def levels(raw: np.ndarray, sent: np.ndarray) -> bool:
    """No more values than the bits can tell apart."""
    return len(np.unique(sent)) <= 2**BITS - 1


def unchanged(raw: np.ndarray, sent: np.ndarray) -> bool:
    """For filters that change nothing."""
    return np.array_equal(raw, sent)


@dataclass(frozen=True)
class Case:
    """A filter, whether it promises an ε, and what holds for each entry that leaves."""

    make: Callable[[], FailClosedFilter]
    check: Check
    guaranteed: bool = False


CASES = {
    "percentile": Case(lambda: adapters.PercentileGaussian(sigma0=1.0), noised),
    "percentile by group": Case(
        lambda: adapters.PercentileGaussian(sigma0=1.0, scope="group"), noised
    ),
    "gaussian": Case(lambda: adapters.GaussianPerturbation(scale=0.01), noised),
    "laplace": Case(lambda: adapters.LaplacePerturbation(level=400), noised),
    "clipped gaussian": Case(
        lambda: adapters.ClippedGaussian(BOUND, MULTIPLIER, buffers="noise"), clipped, True
    ),
    "clipped laplace": Case(
        lambda: adapters.ClippedLaplace(BOUND, MULTIPLIER, disclose=["schedule"]), clipped, True
    ),
    "top k": Case(lambda: adapters.TopK(FRACTION), sparse),
    "random k": Case(lambda: adapters.RandomK(FRACTION), sparse),
    "sign": Case(lambda: adapters.Sign(), signs),
    "quantisation": Case(lambda: adapters.Quantisation(BITS), levels),
    "withhold": Case(lambda: adapters.Withhold(keep=False), unchanged),
    "dp sgd": Case(lambda: adapters.DeclareDPSGD(), unchanged, True),
}

LAYERS = ("conv.weight", "bn.weight", "bn.running_mean", "bn.running_var")
COUNTERS = ("bn.num_batches_tracked", "bn2.num_batches_tracked")
FIXED = ("attn.relative_position_index", "mask")
ODD_NAMES = ("bn.running_m\u0435an", "", "x" * 600, "a\tb", "image.data")

floats = st.sampled_from([np.float16, np.float32, np.float64])
any_dtype = st.sampled_from(
    [np.float16, np.float32, np.float64, np.int64, np.complex64, np.bool_, np.dtype(">f4"), object]
)
scales = st.sampled_from([0.0, 1e-300, 1e-30, 1e-8, 1e-4, 1e-1, 50.0, 6e4, 1e30, 1e200])
shapes = st.sampled_from([(), (1,), (40,), (8, 5), (2, 2, 10), (0,)])


def fortran(v: np.ndarray) -> Any:
    return np.asfortranarray(v)


def backwards(v: np.ndarray) -> Any:
    return v[::-1].copy()[::-1] if v.ndim else v


def masked(v: np.ndarray) -> Any:
    return np.ma.array(v, mask=np.arange(v.size).reshape(v.shape) > 0)


def record(v: np.ndarray) -> Any:
    return v.view(np.recarray)


def scalar(v: np.ndarray) -> Any:
    return v[()]


def tensor(v: np.ndarray) -> Any:
    return torch.as_tensor(v.astype(v.dtype.newbyteorder("=")))


def half_that_torch_alone_knows(v: np.ndarray) -> Any:
    return torch.as_tensor(v.astype(np.float64)).to(torch.bfloat16)


def parameter(v: np.ndarray) -> Any:
    return torch.nn.Parameter(torch.as_tensor(v.astype(np.float32)))


def read_only(v: np.ndarray) -> Any:
    v.flags.writeable = False
    return v


FORMS = (fortran, backwards, masked, record, scalar, tensor, parameter, read_only)
FORMS = (*FORMS, half_that_torch_alone_knows)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict]:
    """A server's model, an update to it, its metadata and its headers: mostly sound, partly not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    state, update = {}, {}
    for name in LAYERS:
        shape, dtype = draw(shapes), draw(floats)
        state[name] = np.abs(rng.normal(1, 0.1, shape)).astype(dtype)
        with np.errstate(all="ignore"):
            update[name] = (rng.normal(size=shape) * draw(scales)).astype(dtype)
    grown = draw(st.integers(0, 50))
    for name in COUNTERS:
        state[name] = np.array(17)
        update[name] = np.array(grown)
    state[FIXED[0]], state[FIXED[1]] = np.arange(4), np.array([True, False])
    update[FIXED[0]], update[FIXED[1]] = np.zeros(4, np.int64), np.zeros(2, bool)
    names = list(update)
    for _ in range(draw(st.integers(0, 2))):  # what is odd about this one
        name = draw(st.sampled_from(names))
        kind = draw(st.sampled_from(("form", "dtype", "value", "name", "missing", "text")))
        plain = isinstance(update.get(name), np.ndarray) and update[name].dtype != object
        if kind == "form" and plain:
            with np.errstate(all="ignore"):
                update[name] = draw(st.sampled_from(FORMS))(update[name])
        elif kind == "dtype" and plain:
            with np.errstate(all="ignore"):
                update[name] = update[name].astype(draw(any_dtype))
        elif kind == "value" and plain and type(update[name]) is np.ndarray and update[name].size:
            odd = draw(st.sampled_from([np.nan, np.inf, 1.5, -3.0, 7e9]))
            wide = np.real(update[name]).astype(np.float64)
            wide.reshape(-1)[0] = odd
            with np.errstate(all="ignore"):
                update[name] = wide.astype(draw(floats))
        elif kind == "name":
            odd_name = draw(st.sampled_from(ODD_NAMES))
            update[odd_name] = np.ones(3, np.float32)
            if draw(st.booleans()):
                state[odd_name] = np.zeros(3, np.float32)
        elif kind == "missing":
            update.pop(name, None)
        elif kind == "text":
            update[name] = draw(st.sampled_from(["text", 1.0, [1.0], None]))
    order = draw(st.permutations(list(update)))
    meta = draw(
        st.dictionaries(
            st.sampled_from(["hp", "loss", "dp_sgd", "NUM_STEPS_CURRENT_ROUND", "initial_metrics"]),
            st.sampled_from(
                [
                    {"n_images": 1234, "n_steps": 60, "lr": 0.01},
                    DP_SGD,
                    [math.nan] * 5,
                    {"patient 7": 0.5},
                    10**900,
                    1234,
                    "text",
                ]
            ),
            max_size=3,
        )
    )
    headers = draw(
        st.dictionaries(
            st.sampled_from([ReservedHeaderKey.PEER_PROPS, ReservedHeaderKey.PEER_CTX, "x"]),
            st.sampled_from([{"x": np.ones(4)}, "text", 1234]),
            max_size=1,
        )
    )
    return state, {n: update[n] for n in order}, meta, headers


def as_array(value: Any) -> np.ndarray:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def verify(
    case: Case,
    state: Mapping[str, Any],
    update: Mapping[str, Any],
    left: Shareable,
) -> None:
    assert set(left) == {ReservedHeaderKey.HEADERS, "DXO"}
    assert set(left[ReservedHeaderKey.HEADERS]) <= {"__content_type__", "current_round"}
    dxo = from_shareable(left)
    assert dxo.data_kind == DataKind.WEIGHT_DIFF
    assert set(dxo.data) <= set(state)
    assert not set(dxo.data) & fixed_entries(state)
    kind_of = kinds(state)
    for name, value in dxo.data.items():
        assert type(value) in (np.ndarray, torch.Tensor) or isinstance(value, np.generic)
        sent, raw = as_array(value), np.real(as_array(update[name]))
        assert sent.shape == np.shape(state[name])
        assert np.isfinite(sent).all()
        if kind_of[name] == "counter":
            assert float(sent) == float(raw) == int(raw)
        else:
            if kind_of[name] == "running_var":  # what the floor of variances raised says nothing
                floor = np.asarray(-state[name].astype(np.float64) * (1 - 2.0**-10))
                raised = sent <= floor.astype(sent.dtype)
                sent = np.where(raised, sent.dtype.type(0), sent)
                raw = np.where(raised, np.nan, raw)
            with np.errstate(all="ignore"):
                assert case.check(raw.astype(sent.dtype), sent), name
    if case.guaranteed:
        disclosed = {"hp", "NUM_STEPS_CURRENT_ROUND"} if case.make().disclose else set()
        assert set(dxo.meta) <= {"medleak_defences"} | disclosed
        assert list(dxo.data) == [n for n in state if n in dxo.data]
        assert not [n for n in dxo.data if kind_of[n] == "counter"]
        for name, value in dxo.data.items():
            assert as_array(value).dtype == np.asarray(state[name]).dtype
            assert type(value) is type(state[name])


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")  # of what is generated
@pytest.mark.timeout(3600)
def test_nothing_leaves_that_is_not_protected_as_declared():
    counted = {"left": 0, "kept": 0}

    @settings(
        max_examples=cases(500, 20_000),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(exchange=exchanges(), name=st.sampled_from(sorted(CASES)))
    def throw(exchange, name):
        counted[thrown(exchange, name)] += 1

    throw()
    # Had nearly all been refused, little would be proven.
    assert counted["left"] >= 0.1 * sum(counted.values()) > 0


def thrown(exchange: tuple[dict[str, Any], dict[str, Any], dict, dict], name: str) -> str:
    """Whether what was generated ``left`` through filter ``name``, checked, or was ``kept``."""
    state, update, meta, headers = exchange
    case = CASES[name]
    if name == "dp sgd":
        meta = {**meta, "dp_sgd": DP_SGD}
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        ctx, data = site.task(state)
        adapters.GlobalModel().process(data, ctx)
        result = DXO(DataKind.WEIGHT_DIFF, data=dict(update), meta=dict(meta)).to_shareable()
        for key, value in headers.items():
            result.set_header(key, value)
        logging.disable(logging.CRITICAL)
        try:
            left = case.make().process(result, ctx)
        except ContentBlockedException:
            return "kept"
        finally:
            logging.disable(logging.NOTSET)
    verify(case, state, update, left)
    return "left"
