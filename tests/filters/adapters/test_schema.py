"""Tests of medleak.filters.adapters.schema: what leaves beside an update under an ε."""

import math

import numpy as np
import pytest
import torch
from nvflare.apis.filter import ContentBlockedException
from nvflare.apis.shareable import ReservedHeaderKey

from medleak.filters.adapters import (
    ClippedGaussian,
    DeclareDPSGD,
    PercentileGaussian,
    PrivacyLedger,
    Withhold,
)
from medleak.filters.privacy import ledger

DP_SGD = {"noise_multiplier": 2.0, "sample_rate": 0.5, "steps": 4}
SCHEDULE = {"n_images": 77, "n_steps": 20, "batch_size": 4, "local_epochs": 1, "lr": 0.01}


def mechanism(**kwargs):
    return ClippedGaussian(max_grad_norm=1.0, noise_multiplier=20.0, **kwargs)


META = {
    "losses of single images": {"losses": [0.25] * 200},
    "a long integer": {"x": 10**3000},
    "NaN payloads": {"x": [math.nan] * 10},
    "text": {"note": "patient 7"},
    "the schedule": {"hp": SCHEDULE, "NUM_STEPS_CURRENT_ROUND": 77},
    "metrics": {"initial_metrics": {"accuracy": 0.9}},
    "an invented ledger": {"medleak_ledger": {"entries": 10**9}},
    "a filter history": {"filter_history": ["77"]},
}


@pytest.mark.parametrize("case", META)
@pytest.mark.parametrize("later", [[], [PercentileGaussian(sigma0=1.0)]])
def test_under_a_guarantee_metadata_is_what_medleak_wrote(case, later, update, global_state, site):
    filters = [mechanism(), *later, PrivacyLedger(target_delta=1e-5)]
    sent = site.send(filters, site.result(update, **META[case]), global_state)
    assert sent.meta.keys() == {"medleak_defences", "medleak_ledger"}
    assert sent.meta["medleak_ledger"]["entries"] == 1


def test_the_guarantee_is_lost_to_no_filter_that_follows(update, global_state, site):
    first = site.send([mechanism()], site.result(update, x=1), global_state)
    assert list(first.meta) == ["medleak_defences"]


def test_under_a_guarantee_order_and_types_are_the_models(update, global_state, site):
    names = list(update)[::-1]
    mixed = {n: update[n].astype(np.float64) if i % 2 else update[n] for i, n in enumerate(names)}
    mixed["fc.weight"] = np.asfortranarray(mixed["fc.weight"])
    mixed["conv.weight"] = torch.as_tensor(mixed["conv.weight"])
    sent = site.send(mechanism(buffers="noise"), site.result(mixed), global_state)
    wanted = [n for n in global_state if not n.endswith("tracked")]
    assert list(sent.data) == wanted
    for name, value in sent.data.items():
        assert type(value) is np.ndarray
        assert value.dtype == global_state[name].dtype
        assert value.flags.c_contiguous


def test_values_beyond_the_models_type_stay_home(site):
    state = {"w": np.zeros(4, np.float16)}
    with pytest.raises(ContentBlockedException, match="beyond float16"):
        site.send(mechanism(), site.result({"w": np.full(4, 1e6)}), state)


def test_what_is_disclosed_leaves_and_is_named(update, global_state, site):
    meta = {"hp": {**SCHEDULE, "note": "x"}, "NUM_STEPS_CURRENT_ROUND": 77}
    scores = {"initial_metrics": {"accuracy": 0.123456789}}
    filters = [mechanism(disclose=["schedule"], metrics="pass"), PrivacyLedger(1e-5)]
    sent = site.send(filters, site.result(update, **meta, **scores), global_state)
    assert sent.meta["hp"] == SCHEDULE
    assert sent.meta["NUM_STEPS_CURRENT_ROUND"] == 77
    assert sent.meta["initial_metrics"] == {"accuracy": 0.123457}
    (entry,) = ledger.read(site.root / "medleak_ledger.jsonl").entries
    assert "number of images" in entry.spend.guarantees[0].beside
    assert any("scores" in b for b in sent.meta["medleak_ledger"]["epsilon"][0]["beside"])


def test_the_mark_of_canaries_leaves_with_the_schedule(update, global_state, site):
    marked = {**SCHEDULE, "canaries": {"kind": "gradients", "count": 500}}
    sent = site.send(mechanism(disclose=["schedule"]), site.result(update, hp=marked), global_state)
    assert sent.meta["hp"] == marked


def test_a_second_mechanism_that_discloses_nothing_has_the_last_word(update, global_state, site):
    filters = [mechanism(), mechanism(disclose=["schedule"], metrics="pass")]
    sent = site.send(filters, site.result(update, hp=SCHEDULE), global_state)
    assert "hp" not in sent.meta


@pytest.mark.parametrize(
    "meta",
    [
        {"hp": {**SCHEDULE, "optimizer": "text that says something"}},
        {"hp": {**SCHEDULE, "n_images": 10**30}},
        {"hp": {**SCHEDULE, "lr": "0.01"}},
        {"hp": ["n_images", 77]},
        {"hp": {**SCHEDULE, "canaries": {"kind": "words", "count": 4}}},
        {"hp": {**SCHEDULE, "canaries": {"kind": "images", "count": 4, "seed": 7}}},
        {"hp": {**SCHEDULE, "canaries": {"kind": "images", "count": 0}}},
        {"hp": {**SCHEDULE, "canaries": True}},
        {"NUM_STEPS_CURRENT_ROUND": 0.5},
        {"initial_metrics": {"patient 7": 0.5}},
        {"initial_metrics": {"loss": math.nan}},
        {"initial_metrics": {f"m{i}": 0.5 for i in range(99)}},
    ],
)
def test_what_is_disclosed_is_numbers_and_nothing_else(meta, update, global_state, site):
    filter_ = mechanism(disclose=["schedule"], metrics="pass")
    with pytest.raises(ContentBlockedException, match="nothing else leaves"):
        site.send(filter_, site.result(update, **meta), global_state)


def test_counters_do_not_leave_under_a_guarantee(update, global_state, site):
    sent = site.send(mechanism(buffers="noise"), site.result(update), global_state)
    assert not [n for n in sent.data if n.endswith("tracked")]
    assert "bn1.running_mean" in sent.data


COUNTERS = {
    "text in one": (
        {"bn1.num_batches_tracked": np.array(int.from_bytes(b"SECRET", "big") + 0.75)},
        "grew by",
    ),
    "another number in each": (
        {"bn1.num_batches_tracked": np.array(4.75), "layer1.bn2.num_batches_tracked": 2.75},
        "grew by",
    ),
    "more than the steps": (
        {n: np.array(40.75) for n in ("bn1.num_batches_tracked", "layer1.bn2.num_batches_tracked")},
        "at most 20",
    ),
    "a fraction": ({"bn1.num_batches_tracked": np.array(2.9)}, "not a whole number"),
}


@pytest.mark.parametrize("case", COUNTERS)
def test_without_a_guarantee_counters_count_batches_and_carry_nothing_else(
    case, update, global_state, site
):
    changed, message = COUNTERS[case]
    mixed = {**update, **{n: np.asarray(v) for n, v in changed.items()}}
    with pytest.raises(ContentBlockedException, match=message):
        site.send(PercentileGaussian(sigma0=1), site.result(mixed, hp=SCHEDULE), global_state)


def test_a_counter_that_is_nearly_right_leaves_right(update, global_state, site):
    update["bn1.num_batches_tracked"] = np.array(2.75 + 1e-4)
    sent = site.send(PercentileGaussian(sigma0=1), site.result(update), global_state)
    assert sent.data["bn1.num_batches_tracked"] == 2.75


@pytest.mark.parametrize("name", [ReservedHeaderKey.PEER_PROPS, ReservedHeaderKey.PEER_CTX, "any"])
def test_headers_do_not_leave(name, update, global_state, site):
    ctx, _ = site.task(global_state)
    filter_ = PercentileGaussian(sigma0=1)
    filter_.handle_event("_after_task_data_filter", ctx)
    result = site.result(update)
    result.set_header(name, {"x": update["fc.weight"]})
    with pytest.raises(ContentBlockedException, match="headers of the result"):
        filter_.process(result, ctx)
    result.set_header(name, {"x": "short"})
    left = filter_.process(result, ctx)
    assert set(left[ReservedHeaderKey.HEADERS]) == {"__content_type__", "current_round"}


def test_dp_sgd_drops_what_it_was_told_and_statistics_that_did_not_change(
    update, global_state, site
):
    update = {n: np.zeros_like(v) if "running" in n else v for n, v in update.items()}
    sent = site.send(
        [DeclareDPSGD(), PrivacyLedger(1e-5)],
        site.result(update, dp_sgd=DP_SGD, hp=SCHEDULE),
        global_state,
    )
    assert sent.meta.keys() == {"medleak_defences", "medleak_ledger"}
    assert not [n for n in sent.data if "running" in n or "tracked" in n]
    beside = sent.meta["medleak_ledger"]["epsilon"][0]["beside"]
    assert beside == ["sampling rate", "number of steps"]


def test_dp_sgd_with_statistics_that_changed_stays_home(update, global_state, site):
    with pytest.raises(ContentBlockedException, match="changed under DP-SGD"):
        site.send(DeclareDPSGD(), site.result(update, dp_sgd=DP_SGD), global_state)


def test_dp_sgd_that_left_part_of_a_tensor_as_it_was_stays_home(update, global_state, site):
    update = {n: np.zeros_like(v) if "running" in n else v for n, v in update.items()}
    update["fc.weight"][:20] = 0
    with pytest.raises(ContentBlockedException, match="did not change under DP-SGD"):
        site.send(DeclareDPSGD(), site.result(update, dp_sgd=DP_SGD), global_state)


# A transformer's position indices: integers that are never trained.
INDEX = {"table": np.zeros((9, 2), np.float32), "attn.index": np.arange(9)}
STEP = {"table": np.full((9, 2), 1e-3, np.float32)}


@pytest.mark.parametrize(
    "index",
    [np.zeros(9, np.int64), np.zeros(9, np.float32), torch.zeros(9, dtype=torch.int64), None],
)
@pytest.mark.parametrize("make", [lambda: PercentileGaussian(sigma0=1.0), mechanism])
def test_an_index_that_did_not_change_is_no_obstacle_and_is_not_noised(make, index, site):
    update = STEP if index is None else {**STEP, "attn.index": index}
    sent = site.send(make(), site.result(update), INDEX)
    assert list(sent.data) == ["table"]


def test_flags_that_did_not_change_are_no_obstacle(site):
    state = {"w": np.zeros(9, np.float32), "mask": np.array([True, False])}
    update = {"w": np.full(9, 1e-3, np.float32), "mask": np.zeros(2, bool)}
    assert list(site.send(mechanism(), site.result(update), state).data) == ["w"]


def test_an_averaged_index_is_still_known_by_its_name(site):
    state = {"table": INDEX["table"], "attn.relative_position_index": np.arange(9.0)}
    sent = site.send(
        PercentileGaussian(sigma0=1.0),
        site.result({**STEP, "attn.relative_position_index": np.zeros(9)}),
        state,
    )
    assert list(sent.data) == ["table"]


def test_an_index_that_changed_stays_home_and_the_advice_of_the_message_works(site):
    changed = {**STEP, "attn.index": np.eye(1, 9, dtype=np.int64)[0]}
    with pytest.raises(ContentBlockedException) as refused:
        site.send(PercentileGaussian(sigma0=1.0), site.result(changed), INDEX)
    assert 'Withhold("send", ["attn.index"])' in str(refused.value)
    advised = [Withhold("send", ["attn.index"]), PercentileGaussian(sigma0=1.0)]
    sent = site.send(advised, site.result(changed), INDEX)
    assert list(sent.data) == ["table"]


def test_a_complex_entry_can_be_withheld_as_the_message_says(site):
    state = {"w": np.zeros(9, np.float32), "fft": np.ones(4, np.complex64)}
    update = {"w": np.full(9, 1e-3, np.float32), "fft": np.ones(4, np.complex64)}
    with pytest.raises(ContentBlockedException, match=r'Withhold\("send", \["fft"\]\)'):
        site.send(PercentileGaussian(sigma0=1.0), site.result(update), state)
    advised = [Withhold("send", ["fft"], keep=False), PercentileGaussian(sigma0=1.0)]
    assert list(site.send(advised, site.result(update), state).data) == ["w"]


class Bare(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "value",
    [
        np.ma.array(np.ones(9, np.float32), mask=np.arange(9) > 0),
        np.ones((9, 1), np.float32).view(np.matrix),
        np.ones(9, np.float32).view(np.recarray),
        torch.ones(9).as_subclass(Bare),
    ],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_arrays_with_arithmetic_of_their_own_stay_home(value, site):
    state = {"w": np.zeros(np.shape(value), np.float32)}
    with pytest.raises(ContentBlockedException, match="w is a"):
        site.send(mechanism(), site.result({"w": value}), state)


def test_a_parameter_is_a_plain_tensor(site):
    state = {"w": torch.zeros(9)}
    sent = site.send(mechanism(), site.result({"w": torch.nn.Parameter(torch.ones(9))}), state)
    assert type(sent.data["w"]) is torch.Tensor


@pytest.mark.parametrize("name", ["bn.running_m\u0435an", "a\nb", "x" * 600])
def test_a_name_that_looks_like_another_stays_home(name, site):
    state = {"w": np.zeros(9, np.float32), name: np.zeros(9, np.float32)}
    update = {n: np.ones(9, np.float32) for n in state}
    with pytest.raises(ContentBlockedException, match=r"printable ASCII|no text"):
        site.send(mechanism(), site.result(update), state)


PATHS = ["/tmp/x", "../x", "a/../../x", "local/privacy.jsonl", "startup/x", "link/x", ""]


@pytest.mark.parametrize("path", PATHS)
def test_filters_write_into_the_sites_folder_only(path, update, global_state, site, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    site.root = tmp_path / "site"
    (site.root / "local").mkdir(parents=True)
    (site.root / "link").symlink_to(outside)
    chains = ([mechanism(), PrivacyLedger(1e-5, path=path)], [Withhold(state_dir=path)])
    for filters in chains:
        with pytest.raises(ContentBlockedException, match="of a filter"):
            site.send(filters, site.result(update), global_state)
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert left == []


def test_a_second_ledger_does_not_touch_the_store_of_the_first(update, global_state, site):
    def chain():
        second = PrivacyLedger(1e-5, path="medleak_ledger.x")
        return [mechanism(), PrivacyLedger(1e-5), PercentileGaussian(sigma0=1.0), second]

    once, twice = (site.send(chain(), site.result(update), global_state) for _ in range(2))
    np.testing.assert_array_equal(once.data["fc.weight"], twice.data["fc.weight"])
