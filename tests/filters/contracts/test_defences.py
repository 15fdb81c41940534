"""The contract that every pure defence keeps, driven by the table of defences."""

import copy
import json

import numpy as np
import pytest
from scipy import stats

from medleak.filters.noise import NoiseSource
from medleak.filters.registry import DEFENCES, ROWS, build, declaration, defence, row_of
from medleak.filters.spec import SpecChain
from medleak.filters.update import UpdateError

# Spec: (law of its noise, its scale on fc.weight given the raw update); what else varies of it.
# An example of every row of the registry is held to the contract as well.
LAWS = {
    "percentile_gaussian:sigma0=10": ("norm", lambda u: 10 * percentile_95(u)),
    "percentile_gaussian:sigma0=10,scope=group": ("norm", lambda u: 10 * weights_95(u)),
    "percentile_gaussian:sigma0=10,scope=tensor": (
        "norm",
        lambda u: 10 * np.percentile(abs(u["fc.weight"]), 95),
    ),
    "percentile_gaussian:sigma0=10,buffers=drop": (
        "norm",
        lambda u: 10 * weights_95(u),
    ),
    "gaussian_perturbation:scale=0.01": ("norm", lambda u: 0.01),
    "laplace_perturbation:level=400,lr=0.1": ("laplace", lambda u: 0.1 / 400),
    "laplace_perturbation:scale=0.01,buffers=pass": ("laplace", lambda u: 0.01),
    "clipped_gaussian:max_grad_norm=9,noise_multiplier=2": ("norm", lambda u: 18.0),
    "clipped_gaussian:max_grad_norm=9,noise_multiplier=2,buffers=noise": ("norm", lambda u: 18.0),
    "clipped_laplace:max_grad_norm=9,noise_multiplier=2": ("laplace", lambda u: 18.0),
}
VARIANTS = (
    "top_k:fraction=0.1",
    "random_k:fraction=0.1,rescale=true",
    "sign",
    "quantisation:bits=4",
    "withhold",
    "withhold:batch_norm=withhold_all,layers=fc.*",
    "withhold+random_k:fraction=0.5+percentile_gaussian:sigma0=2",
)
SPECS = list(dict.fromkeys([*LAWS, *VARIANTS, *(row.example_text for row in ROWS)]))
NOISY = list(LAWS)


def weights(update):
    return {n: v for n, v in update.items() if "bn" not in n}


def weights_95(update):
    return percentile_95(weights(update))


def percentile_95(update):
    values = [np.ravel(v) for n, v in update.items() if not n.endswith("tracked")]
    return np.percentile(np.abs(np.concatenate(values)), 95)


def protect(spec, update, global_state, rng=None):
    return defence(spec)(update, rng=rng or NoiseSource.secure(), global_state=global_state)


def is_random(spec):
    rows = [row_of(name) for name in SpecChain.parse(spec).names]
    return any(row is not None and row.random for row in rows)


def test_every_defence_is_held_to_the_contract():
    assert {s.partition(":")[0] for s in SPECS if "+" not in s} == set(DEFENCES)


@pytest.mark.parametrize("spec", SPECS)
def test_names_order_types_shapes_and_dtypes_are_kept(spec, update, global_state):
    update["bn1.weight"] = update["bn1.weight"].astype(np.float64)
    update["conv.weight"] = np.asfortranarray(update["conv.weight"])
    update["temperature"] = np.float32(0.5)
    global_state["temperature"] = np.float32(2)
    sent = protect(spec, update, global_state)
    assert list(sent) == [n for n in update if n in sent]
    for name, value in sent.items():
        assert type(value) is type(update[name]), name
        assert value.dtype == update[name].dtype, name
        assert value.shape == update[name].shape, name
        assert np.isfinite(value).all(), name


@pytest.mark.parametrize("spec", SPECS)
def test_neither_update_nor_global_model_is_modified(spec, update, global_state):
    before = copy.deepcopy((update, global_state))
    protect(spec, update, global_state)
    for now, then in zip((update, global_state), before, strict=True):
        assert now.keys() == then.keys()
        for name in now:
            np.testing.assert_array_equal(now[name], then[name])


@pytest.mark.parametrize("spec", SPECS)
def test_counters_are_intact_or_absent(spec, update, global_state):
    sent = protect(spec, update, global_state)
    for name in update:
        if name.endswith("num_batches_tracked") and name in sent:
            assert sent[name] == update[name]


@pytest.mark.parametrize("spec", SPECS)
def test_running_variances_are_not_negative_at_the_server(spec, update, global_state):
    rng = np.random.default_rng(0)
    for name in update:
        if name.endswith("running_var"):  # as low as training can bring them
            share = rng.uniform(-0.999, 1, update[name].shape)
            update[name] = (share * global_state[name]).astype(np.float32)
    sent = protect(spec, update, global_state)
    for name in sent:
        if name.endswith("running_var"):
            assert (global_state[name] + sent[name] >= 0).all()


@pytest.mark.parametrize("spec", SPECS)
def test_the_result_repeats_only_when_seeded(spec, update, global_state):
    def flat(rng):
        sent = protect(spec, update, global_state, rng)
        return np.concatenate([np.ravel(v) for v in sent.values()])

    np.testing.assert_array_equal(flat(NoiseSource.seeded(1)), flat(NoiseSource.seeded(1)))
    again = np.array_equal(flat(NoiseSource.secure()), flat(NoiseSource.secure()))
    assert again != is_random(spec)


@pytest.mark.parametrize("spec", NOISY)
def test_noise_has_its_law_and_a_scale_right_within_two_per_cent(spec, update, global_state):
    law, scale_of = LAWS[spec]
    rng = np.random.default_rng(5)
    update["fc.weight"] = (rng.normal(size=(200, 512)) * 1e-4).astype(np.float32)
    global_state["fc.weight"] = np.zeros((200, 512), np.float32)
    raw = update["fc.weight"].astype(float)
    sent = protect(spec, update, global_state, NoiseSource.seeded(7))
    noise = (sent["fc.weight"] - raw).ravel() / scale_of(update)
    expected = 1.0 if law == "norm" else np.sqrt(2)
    assert noise.std() == pytest.approx(expected, rel=0.02)
    assert stats.kstest(noise, law).pvalue > 0.01


@pytest.mark.parametrize("spec", NOISY)
def test_noise_on_different_entries_is_uncorrelated(spec, update, global_state):
    sent = protect(spec, update, global_state, NoiseSource.seeded(7))
    noise = (sent["fc.weight"].astype(float) - update["fc.weight"]).ravel()
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.03
    rows = noise.reshape(2, -1)
    assert abs(np.corrcoef(rows)[0, 1]) < 0.04


@pytest.mark.parametrize("spec", SPECS)
def test_a_declaration_is_plain_and_builds_the_same_defence(spec):
    used = defence(spec)
    declared = json.loads(json.dumps(declaration(used)))
    assert declaration(build(**declared)) == declared


HOSTILE = {
    "nan": lambda u: u["fc.weight"].__setitem__((0, 0), np.nan),
    "inf": lambda u: u["bn1.running_mean"].__setitem__(0, np.inf),
    "empty": lambda u: u.clear(),
    "unknown dtype": lambda u: u.update({"fc.weight": u["fc.weight"].astype(np.complex64)}),
    "whole numbers": lambda u: u.update({"fc.weight": np.ones((40, 512), np.int32)}),
    "objects": lambda u: u.update({"fc.weight": np.array([None])}),
    "a list": lambda u: u.update({"fc.weight": [1.0, 2.0]}),
    "zero update": lambda u: u.update(
        {n: np.zeros_like(v) for n, v in u.items() if not n.endswith("tracked")}
    ),
    "unknown entry": lambda u: u.update({"smuggled": np.ones(9, np.float32)}),
    "wrong shape": lambda u: u.update({"fc.weight": np.ones((2, 2), np.float32)}),
    "large counter": lambda u: u.update({"bn1.num_batches_tracked": np.ones(10**4)}),
    "noised counter": lambda u: u.update({"bn1.num_batches_tracked": np.array(3.9)}),
}


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_updates_are_refused(spec, case, update, global_state):
    HOSTILE[case](update)
    with pytest.raises(UpdateError):
        protect(spec, update, global_state)
