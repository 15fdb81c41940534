"""Tests of medleak.filters.privacy.releases: a round is released once."""

import numpy as np
import pytest

from medleak.filters.privacy import ledger, releases, witness
from medleak.filters.privacy.accounting import Guarantee, gaussian
from medleak.filters.privacy.ledger import BudgetExceeded, Spend
from medleak.filters.update import UpdateError


def spend(number, job="job-1", model="m"):
    guarantee = Guarantee(event=gaussian(4.0), unit="client", relation="replace")
    return Spend(
        **{"job": job, "round": number, "site": "site-1", "defences": (), "delta": 1e-5},
        guarantees=[guarantee],
        model_sha256=model,
    )


def update(number):
    return {"w": np.full(5, float(number), np.float32)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / ledger.FILE_NAME


def release(path, number, job="job-1"):
    with ledger.opened(path) as book:
        found = releases.find(book, spend(number, job))
        return found or releases.make(book, spend(number, job), update(number), None)


def test_what_was_released_is_found_again_for_the_same_job_round_and_model(path):
    release(path, 0)
    with ledger.opened(path) as book:
        entry, stored = releases.find(book, spend(0)) or pytest.fail("not found")
        assert entry.number == 1
        np.testing.assert_array_equal(stored["w"], update(0)["w"])
        assert releases.find(book, spend(1)) is None
        assert releases.find(book, spend(0, job="JOB-1")) is None
        with pytest.raises(UpdateError, match="for another model"):
            releases.find(book, spend(0, model="other"))


def test_a_stored_update_that_changed_is_not_sent(path):
    release(path, 0)
    (stored,) = witness.folder_of(path).glob("*.safetensors")
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    with ledger.opened(path) as book, pytest.raises(UpdateError, match="no longer stored"):
        releases.find(book, spend(0))


def test_what_is_kept_is_bounded_by_rounds_and_jobs(path):
    for job in range(6):
        for number in range(5):
            release(path, number, f"job-{job}")
    kept = list(witness.folder_of(path).glob("*.safetensors"))
    assert len(kept) == releases.ROUNDS_KEPT * releases.JOBS_KEPT


def test_a_release_over_the_budget_leaves_nothing_stored(path):
    with ledger.opened(path) as book, pytest.raises(BudgetExceeded):
        releases.make(book, spend(0), update(0), 1e-9)
    assert not list(witness.folder_of(path).glob("*.safetensors"))
    assert ledger.read(path).entries == ()


def test_what_a_killed_process_left_is_removed(path):
    release(path, 0)
    part = witness.folder_of(path) / ".x.safetensors.abc.part"
    part.write_bytes(b"half an update")
    release(path, 1)
    assert not part.exists()


def test_the_digest_of_a_model_tells_names_types_shapes_and_values_apart():
    state = {"w": np.zeros((2, 3), np.float32), "n": np.array(1)}
    others = [
        {"v": state["w"], "n": state["n"]},
        {"w": state["w"].astype(np.float64), "n": state["n"]},
        {"w": state["w"].reshape(3, 2), "n": state["n"]},
        {"w": state["w"] + 1, "n": state["n"]},
        {"n": state["n"], "w": state["w"]},
    ]
    digests = {releases.digest_of(s) for s in (state, *others)}
    assert len(digests) == 6
    assert releases.digest_of({n: v.copy() for n, v in state.items()}) in digests
