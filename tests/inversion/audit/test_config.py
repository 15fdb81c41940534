"""Tests of audits that cannot be done as asked, and leave everything as it was."""

from pathlib import Path

import pytest
import torch
from tests.inversion.audit.audits import fake, outcomes, plan_of

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.record import RecordError
from medleak.inversion.audit.plan import Plan
from medleak.inversion.audit.run import audit
from medleak.inversion.results.rows import read_rows


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"prior": "gray"}, "prior"), ({"attacks": ["fake"]}, None), ({"sites": ["site-1"]}, None)],
)
def test_a_directory_takes_more_of_its_own_audit_and_nothing_of_another(
    make_run, tmp_path, changes, what
):
    run = make_run({"site-1": 1, "site-2": 1})
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    outcomes(plan_of(run, tmp_path, sites=["site-2"], attacks=["fake:error=0.1"]), table)
    before = (tmp_path / "audit" / "results.csv").read_bytes()
    if what is None:
        outcomes(plan_of(run, tmp_path, **changes), table)
        assert len(read_rows(tmp_path / "audit" / "results.csv")) > 1
        assert (tmp_path / "audit" / "results.csv").read_bytes().startswith(before)
    else:
        with pytest.raises(ValueError, match=f"holds another audit: its {what}"):
            outcomes(plan_of(run, tmp_path, **changes), table)
        assert (tmp_path / "audit" / "results.csv").read_bytes() == before


def test_an_audit_in_which_all_was_refused_leaves_its_directory_to_a_corrected_one(
    make_run, tmp_path
):
    def refuse(_):
        raise ValueError("this attack has nothing to match")

    run = make_run()
    (first,) = outcomes(plan_of(run, tmp_path), fake(refuse), health=True)
    assert "nothing to match" in (tmp_path / "audit" / "summary.json").read_text()
    assert first.refused == "this attack has nothing to match"
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    (second,) = outcomes(plan_of(run, tmp_path, prior="gray"), table, health=True)
    assert second.refused is None
    for file in ("summary.json", "health.json"):
        assert "nothing to match" not in (tmp_path / "audit" / file).read_text()
    with pytest.raises(ValueError, match="holds another audit"):  # now it has figures
        outcomes(plan_of(run, tmp_path), table)


def test_another_runs_records_are_not_mixed_into_an_audit(make_run, tmp_path):
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    outcomes(plan_of(make_run(), tmp_path), table)
    other = make_run(rounds=(3,), size=24, name="other")
    with pytest.raises(ValueError, match="holds another audit: its record"):
        outcomes(plan_of(other, tmp_path), table)


def test_a_directory_with_other_files_is_left_alone(make_run, tmp_path):
    run = make_run()
    plan = plan_of(run, tmp_path)
    plan.out.mkdir()
    (plan.out / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is no audit directory"):
        outcomes(plan, fake(lambda _: run.images("site-9", 16)))
    assert [p.name for p in plan.out.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sites": ["site-7"]}, "Site site-7"),
        ({"rounds": [9]}, "Round 9"),
        ({"attacks": ["fak"]}, "Unknown attack"),
        ({"attacks": ["fake:error=big"]}, "error = 'big'"),
        ({"defences": ["percentile_gaussian:sigma0=0"]}, "sigma0"),
        ({"prior": "no.png"}, "neither a file"),
        ({"truth": "nowhere"}, "Truth 'nowhere' does not exist"),
        ({"device": "abacus"}, "Device 'abacus'"),
    ],
)
def test_a_request_that_cannot_be_met_leaves_nothing_behind(make_run, tmp_path, changes, message):
    run = make_run()
    if "truth" in changes:
        changes = {"truth": Path(changes["truth"])}
    plan = plan_of(run, tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        outcomes(plan, fake(lambda _: run.images("site-9", 16)))
    assert not plan.out.exists()


def test_missing_records_are_refused(tmp_path):
    with pytest.raises(RecordError, match=r"manifest\.json is missing"):
        list(audit(Plan(records=tmp_path, out=tmp_path / "audit")))


def test_the_truth_may_be_a_list_or_a_folder_of_lists(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1})
    lists = tmp_path / "lists"
    for site in ("site-1", "site-2"):
        found = run.root / site / "simulate_job" / "datalist.json"
        found.rename(lists.joinpath(f"{site}.json")) if lists.exists() else (
            lists.mkdir(),
            found.rename(lists / f"{site}.json"),
        )
    table = fake(lambda _: torch.full((1, 1, 16, 16), 0.5))
    found = outcomes(plan_of(run, tmp_path, truth=lists), table)
    assert all(o.rows[0].ssim is not None for o in found)
    one = plan_of(run, tmp_path, truth=lists / "site-1.json", out=tmp_path / "one")
    with pytest.raises(ValueError, match="is the list of one site, but 2 sites"):
        outcomes(one, table)
    (lists / "site-2.json").unlink()
    with pytest.raises(ValueError, match="has no datalist for site-2"):
        outcomes(plan_of(run, tmp_path, truth=lists, out=tmp_path / "two"), table)
    save_datalist(lists / "site-2.json", {"training": [], "validation": [Item("a", 0, "p")]})
    with pytest.raises(ValueError, match="lists no training image for site-2"):
        outcomes(plan_of(run, tmp_path, truth=lists, out=tmp_path / "three"), table)
    assert not list(tmp_path.glob("t*"))
