"""Tests of record_updates: Flower's own FedAvg in this process, and what its record holds."""

import numpy as np
import pytest
from tests.custom.flower.federation import (
    HP,
    NODES,
    STATE,
    Array,
    ConfigRecord,
    FedAvg,
    LocalGrid,
    as_record,
    client,
    trained,
)

from medleak.custom.flower import Protect, record_updates
from medleak.custom.record import (
    RecordError,
    gaps_text,
    list_updates,
    read_manifest,
    read_record,
    strays,
    verify,
)


def run(strategy, rounds=2, **app):
    grid = LocalGrid({n: client(**app) for n in NODES})
    return strategy.start(grid, as_record(STATE), num_rounds=rounds), grid


def weight(result):
    return result.arrays["fc.weight"].numpy()


def test_every_update_is_recorded_with_the_model_it_came_from(tmp_path):
    strategy = FedAvg()
    recorded = record_updates(strategy, tmp_path / "r", network="mylab.net:width=2", task="bce:14")
    result, _ = run(recorded, beside={"hp": HP})
    assert list_updates(tmp_path / "r") == [(r, f"node-{n}") for r in (1, 2) for n in NODES]
    assert all(error is None for _, _, error in verify(tmp_path / "r"))
    assert strays(tmp_path / "r") == []
    first, second = (read_record(tmp_path / "r", r, "node-11") for r in (1, 2))
    np.testing.assert_array_equal(first.global_state["fc.weight"], STATE["fc.weight"])
    np.testing.assert_allclose(first.update["fc.weight"], 0.11, rtol=1e-5)
    np.testing.assert_allclose(
        second.global_state["fc.weight"], STATE["fc.weight"] + 0.115, rtol=1e-5
    )
    assert (first.info.n_images, first.info.lr, first.info.momentum) == (4, 0.01, None)
    manifest = read_manifest(tmp_path / "r")
    assert manifest.model is not None
    assert manifest.model.path == "mylab.net"
    assert manifest.silence == ""
    assert weight(result).shape == (2, 3)


class Remembering(FedAvg):
    """A strategy whose halves of a round need each other."""

    def configure_train(self, server_round, arrays, config, grid):
        self.model = arrays["fc.weight"].numpy()
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        arrays["fc.weight"] = Array(arrays["fc.weight"].numpy() + self.model)
        return arrays, metrics

    def configure_evaluate(self, server_round, arrays, config, grid):
        assert self.model.shape == (2, 3)
        return super().configure_evaluate(server_round, arrays, config, grid)


@pytest.mark.parametrize("kind", [FedAvg, Remembering])
def test_a_strategy_aggregates_as_without_the_record_and_is_not_changed(tmp_path, kind):
    strategy = kind()
    before = set(vars(strategy))
    recorded = record_updates(strategy, tmp_path)
    assert isinstance(recorded, kind)
    result, _ = run(recorded)
    alone, _ = run(kind())
    np.testing.assert_allclose(weight(result), weight(alone), rtol=1e-6)  # sites in any order
    assert set(vars(strategy)) == before


def test_what_a_site_withheld_is_absent_and_its_defences_are_named(tmp_path):
    mods = [Protect("withhold+percentile_gaussian:sigma0=1", root=tmp_path / "{partition}")]
    run(record_updates(FedAvg(), tmp_path / "r"), mods=mods)
    found = read_record(tmp_path / "r", 1, "node-12")
    assert [d["name"] for d in found.info.defences] == ["withhold", "percentile_gaussian"]
    assert set(found.update) == {"fc.weight"}
    assert found.info.n_images == 4
    assert not np.allclose(found.update["fc.weight"], 0.12)


def test_a_site_cannot_call_withheld_what_it_sent(tmp_path):
    lie = ConfigRecord({"meta": "{}", "withheld": ["fc.weight"]})
    run(record_updates(FedAvg(), tmp_path / "r"), beside={"medleak": lie})
    assert "fc.weight" in read_record(tmp_path / "r", 1, "node-11").update


def test_an_update_whose_guarantee_hides_the_schedule_is_left_out_with_the_reason(tmp_path):
    text = "clipped_gaussian:noise_multiplier=1,max_grad_norm=1"
    mods = [Protect(text, root=tmp_path / "{partition}", target_delta=1e-5)]
    run(record_updates(FedAvg(), tmp_path / "r"), rounds=1, mods=mods)
    assert list_updates(tmp_path / "r") == []
    manifest = read_manifest(tmp_path / "r")
    assert {x.site for x in manifest.left_out} == {"node-11", "node-12"}
    assert 'disclose=["schedule"]' in manifest.left_out[0].reason
    more = {"target_delta": 1e-5, "disclose": ["schedule"]}
    mods = [Protect(text, root=tmp_path / "s{partition}", **more)]
    run(record_updates(FedAvg(), tmp_path / "s"), rounds=1, mods=mods, beside={"hp": HP})
    found = read_record(tmp_path / "s", 1, "node-11")
    assert found.info.n_images == 4
    assert found.info.ledger is not None


def test_a_run_in_which_every_site_failed_is_called_empty(tmp_path, caplog):
    run(
        record_updates(FedAvg(), tmp_path / "r"),
        train=lambda s, n: 1 / 0,
        mods=[Protect("percentile_gaussian:sigma0=1", root=tmp_path / "{partition}")],
    )
    assert "Nothing was recorded" in caplog.text
    assert "clients failed (4 with code 6)" in read_manifest(tmp_path / "r").silence


def test_one_site_that_failed_is_a_gap(tmp_path):
    def train(state, node):
        return 1 / 0 if node == 11 else trained(state, node)

    mods = [Protect("percentile_gaussian:sigma0=1", root=tmp_path / "{partition}")]
    run(record_updates(FedAvg(), tmp_path / "r"), train=train, mods=mods)
    assert list_updates(tmp_path / "r") == [(1, "node-12"), (2, "node-12")]
    assert gaps_text(list_updates(tmp_path / "r"), []) == ""  # one that never sent is not known of


def test_numbered_arrays_are_recorded_under_the_networks_names_or_not_at_all(tmp_path):
    with pytest.raises(ValueError, match="numbered, not named"):
        record_updates(FedAvg(), tmp_path / "a").start(
            LocalGrid({n: client(numbered=True) for n in NODES}), as_record(STATE, numbered=True)
        )
    recorded = record_updates(FedAvg(), tmp_path / "b", names=list(STATE))
    recorded.start(
        LocalGrid({n: client(numbered=True) for n in NODES}),
        as_record(STATE, numbered=True),
        num_rounds=1,
    )
    assert set(read_record(tmp_path / "b", 1, "node-11").update) == set(STATE)


def test_an_update_that_cannot_be_recorded_stops_the_run(tmp_path):
    def train(state, node):
        return {**trained(state, node), "fc.weight": np.full((2, 3), np.nan, np.float32)}

    with pytest.raises(RecordError, match=r"Round 1, site node-1[12].*fc\.weight"):
        run(record_updates(FedAvg(), tmp_path / "r"), train=train)


def test_a_second_run_and_what_is_no_strategy_are_refused(tmp_path):
    run(record_updates(FedAvg(), tmp_path), rounds=1)
    with pytest.raises(RecordError, match="holds a record already"):
        record_updates(FedAvg(), tmp_path)
    with pytest.raises(TypeError, match="write_record"):
        record_updates(object(), tmp_path / "r")  # pyright: ignore[reportArgumentType]
