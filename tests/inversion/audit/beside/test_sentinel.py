import numpy as np
import pytest
from tests.filters.sentinel.models import linear

from medleak.custom.record import Manifest, UpdateInfo, utc_now, write_manifest, write_record
from medleak.inversion.audit.beside.sentinel import all_examined, models_of, sentinel
from medleak.inversion.audit.plan import Plan


@pytest.fixture
def records(tmp_path):
    """Two sites and four rounds, in one of which a site was away."""
    rng, root = np.random.default_rng(0), tmp_path / "records"
    write_manifest(root, Manifest(job="sent", created=utc_now()))
    state = linear()
    for round in range(4):
        update = {n: (rng.normal(size=v.shape) * 1e-3).astype(np.float32) for n, v in state.items()}
        for site in ("site-1", "site-2"):
            if (round, site) != (2, "site-2"):
                info = UpdateInfo(round=round, site=site, time=utc_now())
                write_record(root, info, state, update)
        state = {n: v + 0.5 * update[n] for n, v in state.items()}
    return root


def trapped(root):
    """Another site, which was sent copied rows in a round of its own."""
    state = linear()
    state["hidden.weight"][:] = state["hidden.weight"][0]
    update = {n: v * np.float32(1e-3) for n, v in state.items()}
    write_record(root, UpdateInfo(round=9, site="site-3", time=utc_now()), state, update)
    return root


def plan_of(records, **more):
    return Plan(records=records, out=records.parent / "out", **more)


def test_honest_models_are_told_by_site_and_round(records):
    found = sentinel(plan_of(records))
    assert set(found["sites"]) == {"site-1", "site-2"}
    assert [m["round"] for m in found["sites"]["site-1"]["models"]] == [0, 1, 2, 3]
    assert found["sites"]["site-1"]["all_examined"]
    assert not [m for s in found["sites"].values() for m in s["models"] if m["odd"]]
    assert found["not_tested"] == []


def test_a_trap_is_told(records):
    found = sentinel(plan_of(trapped(records)))
    (model,) = found["sites"]["site-3"]["models"]
    assert "rows" in model["odd"]
    assert not found["sites"]["site-3"]["all_examined"]


def test_a_round_is_judged_by_those_before_it_that_the_plan_leaves_out(records):
    found = sentinel(plan_of(records, rounds=[2], sites=["site-1"]))
    assert [m["round"] for m in found["sites"]["site-1"]["models"]] == [0, 1, 2]
    assert found["sites"]["site-1"]["all_examined"]


def test_a_site_with_a_damaged_record_was_not_tested_and_others_were(records):
    (records / "round_0001" / "site-2.safetensors").write_bytes(b"damaged")
    found = sentinel(plan_of(records))
    assert set(found["sites"]) == {"site-1"}
    (why,) = found["not_tested"]
    assert why["what"] == "site-2"


def test_a_first_model_alone_is_not_everything_examined(records):
    assert not all_examined(list(models_of(records, "site-1", [0])))
    assert all_examined(list(models_of(records, "site-1", [0, 1])))
    assert not all_examined([])
