"""Tests of medleak sentinel."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.filters.sentinel.models import convolutional, linear
from tests.inversion.cli.commands import medleak

from medleak.custom.record import (
    Manifest,
    UpdateInfo,
    utc_now,
    write_global,
    write_manifest,
    write_update,
)
from medleak.filters.sentinel.checks.structure import described, fingerprint


def honest():
    return {n: v for n, v in {**linear(), **convolutional()}.items() if "tracked" not in n}


def trap():
    state = honest()
    state["hidden.weight"][:] = state["hidden.weight"][0]
    return state


def record(root, states):
    rng = np.random.default_rng(0)
    for number, state in enumerate(states):
        digest = write_global(root, number, state)
        update = {n: (rng.normal(size=v.shape) * 1e-3).astype(np.float32) for n, v in state.items()}
        info = UpdateInfo(round=number, site="site-1", time=utc_now())
        write_update(root, info, digest, update)
    write_manifest(root, Manifest(job="test", created=utc_now()))
    return root


def test_a_checkpoint_is_never_an_all_clear(tmp_path):
    save_file(honest(), tmp_path / "honest.safetensors")
    done = medleak("sentinel", tmp_path / "honest.safetensors")
    assert done.exit_code == 3, done.output
    assert "no all-clear" in done.output
    assert fingerprint(described(honest())) in done.output


def test_a_trap_in_a_checkpoint_is_odd(tmp_path):
    save_file(trap(), tmp_path / "trap.safetensors")
    done = medleak("sentinel", tmp_path / "trap.safetensors", "--json")
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)
    assert row["odd"]
    assert "rows: hidden.weight" in row["line"]


def test_another_network_than_the_approved_one_is_odd(tmp_path):
    save_file(honest(), tmp_path / "m.safetensors")
    done = medleak("sentinel", tmp_path / "m.safetensors", "--approved", "0" * 64)
    assert done.exit_code == 1
    assert "the site approved" in done.output


@pytest.mark.parametrize(("third", "code"), [(None, 0), ("trap", 1)])
def test_a_run_is_looked_at_round_by_round(third, code, tmp_path):
    step = {n: v * np.float32(1.001) for n, v in honest().items()}
    states = [honest(), step, trap() if third else step]
    done = medleak("sentinel", record(tmp_path / "records", states), "--json")
    rows = json.loads(done.stdout)
    assert [r["odd"] for r in rows] == [False, False, third is not None]
    assert done.exit_code == code, done.output


def test_one_round_and_an_unknown_site_are_not_known(tmp_path):
    root = record(tmp_path / "records", [honest()])
    assert medleak("sentinel", root).exit_code == 3
    assert medleak("sentinel", root, "--site", "nobody").exit_code == 3


def test_a_site_of_a_checkpoint_is_refused_as_nothing_would_come_of_it(tmp_path):
    save_file(honest(), tmp_path / "initial.safetensors")
    done = medleak("sentinel", tmp_path / "initial.safetensors", "--site", "site-1")
    assert (done.exit_code, "--site is of a run" in done.stderr) == (2, True)
