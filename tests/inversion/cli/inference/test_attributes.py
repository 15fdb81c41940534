import json

import pytest
from tests.inversion.cli.commands import medleak, refused
from tests.inversion.linkage.runs import a_run

pytestmark = pytest.mark.usefixtures("here")


def test_what_is_told_is_said_without_a_name_of_a_patient(tmp_path):
    run = a_run(tmp_path)
    result = medleak("attributes", run / "records", "--truth", run / "truth")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first.startswith("whose an update is: told (share given to their site 1.00")
    assert second.startswith("class shares of a site: told (correlation of distances")
    assert "Doe" not in result.output


def test_what_was_not_tested_or_is_not_known_is_exit_code_3(tmp_path):
    run = a_run(tmp_path, sites=3)
    alone = medleak("attributes", run / "records", "--json")
    assert alone.exit_code == 3
    content = json.loads(alone.stdout)
    assert len(content["told"]) == 1
    assert "no site's list" in content["not_tested"][0]
    few = medleak("attributes", run / "records", "--truth", run / "truth")
    assert few.exit_code == 3
    assert "class shares of a site: not known" in few.stdout


@pytest.mark.parametrize(
    ("shares", "why"),
    [
        ('{"women": {"site-1": 1.5}}', "holds no shares"),
        ('{"women": 0.5}', "holds no shares"),
        ("[1]", "holds no shares"),
        ('{"women": {"site-1": NaN}}', "holds no shares"),
        ("{", "shares.json holds no shares"),
        ('{"women": {"nobody": 0.5}}', "name nobody"),
    ],
)
def test_shares_that_are_none_are_one_line(tmp_path, shares, why):
    run = a_run(tmp_path, sites=2, rounds=2)
    (tmp_path / "shares.json").write_text(shares)
    result = medleak("attributes", run / "records", "--shares", tmp_path / "shares.json")
    assert why in refused(result, 2)
