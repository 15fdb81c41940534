import pytest
from tests.inversion.linkage.runs import a_run

from medleak.inversion.linkage.run import ask


def test_updates_tell_whose_they_are_and_what_the_patients_are_like(tmp_path):
    run = a_run(tmp_path)
    women = {f"site-{k}": k / 10 for k in range(1, 7)}
    found = ask(run / "records", truth=run / "truth", shares={"women": women})
    assert [t.what for t in found.told] == [
        "whose an update is",
        "class shares of a site",
        "women of a site",
    ]
    assert [t.kind for t in found.told] == ["told"] * 3
    assert found.not_tested == []


def test_updates_of_noise_tell_nothing(tmp_path):
    run = a_run(tmp_path, signal=0.0)
    found = ask(run / "records", truth=run / "truth")
    assert "told" not in [t.kind for t in found.told]


def test_what_could_not_be_tested_is_said_and_not_left_out(tmp_path):
    run = a_run(tmp_path, rounds=1)
    found = ask(run / "records")
    assert found.told == []
    whose, classes = map(str, found.not_tested)
    assert whose.startswith("1 round(s) of 6 site(s)")
    assert "no site's list is known" in classes


def test_sites_that_an_attribute_was_not_compared_of_are_named(tmp_path):
    run = a_run(tmp_path)
    women = {f"site-{k}": k / 10 for k in range(1, 5)}
    found = ask(run / "records", truth=run / "truth", shares={"women": women})
    assert [t.what for t in found.told][1:] == ["class shares of a site", "women of a site"]
    (left,) = map(str, found.not_tested)
    assert left.startswith("Women of site-5, site-6: not given")


def test_shares_of_a_site_that_sent_nothing_are_refused(tmp_path):
    run = a_run(tmp_path)
    with pytest.raises(ValueError, match=r"name site-9, which sent no update"):
        ask(run / "records", shares={"women": {"site-9": 0.5}})


def test_one_site_alone_leaves_nothing_of_it(tmp_path):
    run = a_run(tmp_path)
    found = ask(run / "records", sites=["site-2"], truth=run / "truth")
    assert found.told == []
    assert len(found.not_tested) == 2
