"""Tests of audits that are stopped, and go on to the same figures."""

import dataclasses
import errno
import json
import os
import random
import signal
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from tests.inversion.audit.audits import STEADY, fake, outcomes, plan_of

from medleak.inversion.audit import journal
from medleak.inversion.audit.plan import Plan
from medleak.inversion.results.rows import read_rows

pytestmark = pytest.mark.slow


def test_a_damaged_update_is_refused_by_name_and_the_rest_is_audited(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1, "site-3": 1})
    path = run.records / "round_0000" / "site-2.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    plan = plan_of(run, tmp_path)
    found = outcomes(plan, fake(lambda _: torch.full((1, 1, 16, 16), 0.5)))
    assert [bool(o.rows) for o in found] == [True, False, True]
    assert "site-2.safetensors" in found[1].refused
    assert "\n" not in found[1].refused
    summary = json.loads((plan.out / "summary.json").read_text())
    assert [r["case"]["site"] for r in summary["refused"]] == ["site-2"]
    # Restored and run again, what was missing is added and nothing is counted twice.
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = outcomes(plan, fake(lambda _: torch.full((1, 1, 16, 16), 0.5)))
    assert [o.kept for o in found] == [True, True, False]
    assert [r.site for r in read_rows(plan.out / "results.csv")] == ["site-1", "site-2", "site-3"]
    assert json.loads((plan.out / "summary.json").read_text())["refused"] == []
    assert len(read_rows(plan.out / "results.csv")) == 3


def test_a_refusal_is_not_forgotten_when_other_sites_are_added(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1})
    (run.records / "round_0000" / "site-2.safetensors").write_bytes(b"")
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    outcomes(plan_of(run, tmp_path, sites=["site-2"]), table)
    outcomes(plan_of(run, tmp_path, sites=["site-1"]), table)
    summary = json.loads((tmp_path / "audit" / "summary.json").read_text())
    assert [r["case"]["site"] for r in summary["refused"]] == ["site-2"]
    assert [c["site"] for c in summary["cases"]] == ["site-1"]


def test_an_interrupted_audit_goes_on_to_the_same_figures(make_run, tmp_path):
    run = make_run({"site-1": 2, "site-2": 1, "site-3": 1})
    settings = {"attacks": ["fake:error=0.1"], "seeds": [0, 1]}

    def images(observation):
        return torch.full((observation.n_images, 1, 16, 16), 0.4)

    whole = plan_of(run, tmp_path, out=tmp_path / "whole", **settings)
    outcomes(whole, fake(images))
    plan = plan_of(run, tmp_path, **settings)
    for stop in (2, 3, 1):
        seen = []

        def interrupt(observation, seen=seen, stop=stop):
            seen.append(1)
            if len(seen) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            outcomes(plan, fake(images, fail=interrupt))
    assert len({r.case for r in read_rows(plan.out / "results.csv")}) == 3
    outcomes(dataclasses.replace(plan, sites=["site-1"]), fake(images))  # others stay to be done
    left = json.loads((plan.out / "summary.json").read_text())["left"]
    found = [(case["site"], case["seed"]) for case in left]
    assert found == [("site-2", 1), ("site-3", 0), ("site-3", 1)]
    found = outcomes(plan, fake(images))
    assert [o.kept for o in found] == [True] * 3 + [False] * 3
    assert (plan.out / "results.csv").read_bytes() == (whole.out / "results.csv").read_bytes()
    assert (plan.out / "summary.json").read_bytes() == (whole.out / "summary.json").read_bytes()


def test_an_attack_that_was_interrupted_is_shown_but_not_counted(make_run, tmp_path):
    run = make_run()
    table = fake(lambda _: run.images("site-9", 16), ending="interrupted")
    with pytest.raises(KeyboardInterrupt):
        outcomes(plan_of(run, tmp_path), table)
    assert read_rows(tmp_path / "audit" / "results.csv") == []
    # What it had found may be looked at.
    assert len(list((tmp_path / "audit" / "images").glob("round_*.png"))) == 2


def test_a_full_disk_loses_nothing_that_was_found(make_run, tmp_path, monkeypatch):
    run = make_run({"site-1": 1, "site-2": 1})
    plan = plan_of(run, tmp_path)
    real, written = journal.write_rows, []

    def full(path, rows):
        written.append(path)
        if len(written) > 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, rows)

    monkeypatch.setattr(journal, "write_rows", full)
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    with pytest.raises(OSError, match="No space left"):
        outcomes(plan, table)
    assert [r.site for r in read_rows(plan.out / "results.csv")] == ["site-1"]
    monkeypatch.undo()
    assert [o.kept for o in outcomes(plan, table)] == [True, True]
    assert [r.site for r in read_rows(plan.out / "results.csv")] == ["site-1", "site-2"]


@pytest.mark.timeout(400)  # new processes import torch, which a busy machine does slowly
@pytest.mark.parametrize(("jobs", "kills"), [(1, 5), (2, 2)])  # processes start slowly
def test_killed_at_random_moments_it_goes_on_to_the_same_table(make_run, tmp_path, jobs, kills):
    run = make_run({f"site-{k}": 1 for k in range(1, 6)})
    settings = {"attacks": ["steady"], "seeds": [0, 1, 2, 3]}
    whole = plan_of(run, tmp_path, out=tmp_path / "whole", **settings)
    outcomes(whole, STEADY)
    plan = plan_of(run, tmp_path, **settings)
    moments = random.Random(jobs)
    for _ in range(kills):
        before = _lines(plan.out)
        pid = _in_background(plan, jobs)
        deadline = time.monotonic() + 180
        while _lines(plan.out) <= before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.1))
        os.kill(pid, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "it was done before it could be killed"
    done = _lines(plan.out)
    assert done >= kills
    found = outcomes(plan, STEADY)
    kept = sum(outcome.kept for outcome in found)
    assert kept >= done - 1, "a case that had been written down was lost"
    assert len(found) == 20
    # `seconds` of this attack are fixed: the tables are equal to the byte.
    assert (plan.out / "results.csv").read_bytes() == (whole.out / "results.csv").read_bytes()
    assert (plan.out / "summary.json").read_bytes() == (whole.out / "summary.json").read_bytes()
    assert not (plan.out / journal.JOURNAL).exists()


def _lines(out: Path) -> int:
    """Cases that are on disk: each has one image, so one row."""
    found = 0
    for name in (journal.JOURNAL, "results.csv"):
        with suppress(FileNotFoundError):
            found = max(found, (out / name).read_bytes().count(b"\n"))
    return found


def _in_background(plan: Plan, jobs: int) -> int:
    """Fork, as the imports of a new process would take longer than the audit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads and fork
        pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            outcomes(plan, STEADY, jobs=jobs)
        os._exit(0)
    return pid


def test_a_torn_or_damaged_line_of_the_journal(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1})
    plan = plan_of(run, tmp_path)
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    outcomes(dataclasses.replace(plan, sites=["site-1"]), table)
    (row,) = read_rows(plan.out / "results.csv")
    kept = plan.out / journal.JOURNAL
    other = dataclasses.asdict(dataclasses.replace(row, seed=7))
    whole = json.dumps({"rows": [other]}).encode() + b"\n"
    # A kill while a line was written: that case is not done, the one before is.
    kept.write_bytes(whole + whole[:100])
    assert [o.kept for o in outcomes(plan, table)] == [True, False]
    assert [r.seed for r in read_rows(plan.out / "results.csv")] == [7, 0, 0]
    kept.write_bytes(whole[:100] + b"\n" + whole)
    with pytest.raises(ValueError, match=r"journal\.jsonl, line 1: .*restore the file"):
        outcomes(plan, table)
    assert kept.exists()


def test_tables_are_written_seldom_when_they_are_long(make_run, tmp_path, monkeypatch):
    run = make_run({f"site-{k}": 1 for k in range(1, 9)})
    plan = plan_of(run, tmp_path)
    written, real = [], journal.write_rows

    def slow(path, rows):
        written.append(len(rows))
        time.sleep(0.2)
        real(path, rows)

    monkeypatch.setattr(journal, "write_rows", slow)
    outcomes(plan, fake(lambda _: torch.full((1, 1, 16, 16), 0.5)))
    assert written[0] == 1
    assert written[-1] == 8
    assert len(written) <= 4
