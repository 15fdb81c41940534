from tests.inversion.linkage.runs import a_run

from medleak.inversion.audit.beside.attributes import attributes
from medleak.inversion.audit.plan import Plan


def test_it_is_what_the_command_finds_in_the_same_updates(tmp_path):
    run = a_run(tmp_path)
    shares = {"women": {f"site-{k}": k / 6 for k in range(1, 7)}}
    plan = Plan(records=run / "records", out=tmp_path / "out", truth=run / "truth", shares=shares)
    found = attributes(plan)
    kinds = {t["what"]: t["kind"] for t in found["told"]}
    assert kinds["whose an update is"] == "told"
    assert kinds["class shares of a site"] == kinds["women of a site"] == "told"
    assert found["not_tested"] == []
    assert all(t["lower95"] <= t["value"] <= t["upper95"] for t in found["told"])


def test_one_round_cannot_tell_whose_it_is_and_says_so(tmp_path):
    run = a_run(tmp_path)
    found = attributes(Plan(records=run / "records", out=tmp_path / "out", rounds=[1]))
    whys = {n["what"]: n["why"] for n in found["not_tested"]}
    assert "at least two rounds" in whys["whose an update is"]
