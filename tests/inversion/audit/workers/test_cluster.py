"""Tests of medleak.inversion.audit.workers.cluster: an audit by processes of a Ray cluster.

What it has in common with processes of this machine is tested in `test_pool`.
"""

import importlib.util
from contextlib import closing

import pytest
from tests.inversion.audit.audits import STEADY, outcomes, plan_of

from medleak.inversion.audit.workers import cluster as module
from medleak.inversion.audit.workers.cluster import Cluster, Share, connected, versions

# Ray starts in seconds, on a busy machine in many.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_an_audit_is_the_same_on_a_cluster(cluster, make_run, tmp_path):
    run = make_run({f"site-{k}": 1 for k in range(1, 4)})
    settings = {"attacks": ["steady"], "seeds": [0, 1]}
    here = plan_of(run, tmp_path, out=tmp_path / "here", **settings)
    there = plan_of(run, tmp_path, out=tmp_path / "there", **settings)
    outcomes(here, STEADY)
    found = outcomes(there, STEADY, cluster=cluster)
    assert [bool(outcome.rows) for outcome in found] == [True] * 6
    for name in ("results.csv", "summary.json"):
        assert (there.out / name).read_bytes() == (here.out / name).read_bytes()
    assert all(outcome.kept for outcome in outcomes(there, STEADY, cluster=cluster))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("torch", "1.0", r"has torch \d.*, and this process 1\.0"),
        ("medleak", "0", "has another medleak than this process, by its files"),
        ("flax", "9", "has flax not at all, and this process 9"),
    ],
)
def test_a_process_of_another_version_is_refused_before_anything_is_written(
    cluster, make_run, tmp_path, monkeypatch, name, value, said
):
    plan = plan_of(make_run(), tmp_path, attacks=["steady"])
    own = {**versions(), name: value}
    monkeypatch.setattr(module, "versions", lambda: own)
    other = Cluster(cluster._ray, Share(cpus=0), 1)  # room is not what this is about
    with closing(other), pytest.raises(ValueError, match=said):
        outcomes(plan, STEADY, cluster=other)
    assert not plan.out.exists()


def test_a_record_that_the_processes_do_not_see_is_refused(cluster, tmp_path):
    with pytest.raises(ValueError, match=r"does not see .*elsewhere"):
        cluster.require([tmp_path, tmp_path / "elsewhere"])


def test_more_than_the_cluster_has_is_refused(cluster):
    assert module._fit({"CPU": 8, "GPU": 2, "memory": 7e9}, Share(cpus=2, gpus=1)) == 2
    assert module._fit({"CPU": 8, "memory": 7e9}, Share(memory_gb=2)) == 3
    assert module._fit({"CPU": 8}, Share(gpus=0.5)) == 0


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(ValueError, match=r"pip install 'medleak\[cluster\]'.*--jobs"),
        connected("local", Share()),
    ):
        pass


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_process_that_dies_in_its_start_is_started_once_more(cluster, tmp_path, deaths):
    with closing(Cluster(cluster._ray, Share(cpus=0), 1)) as other:
        seat = other._seat(0)
        for _ in range(deaths):
            before = seat.actor
            cluster._ray.kill(before)
            if not seat._died:
                while seat.actor is before:
                    assert not seat.ready()
        if deaths == 1:
            other.require([tmp_path])
        else:
            with pytest.raises(ValueError, match="cannot start"):
                other.require([tmp_path])
