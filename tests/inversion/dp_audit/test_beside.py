import json

import pytest
from tests.inversion.linkage.runs import a_run

from medleak.custom.record import read_manifest
from medleak.inversion.dp_audit.beside import FILE, require_of_this_run, write
from medleak.inversion.dp_audit.counts import Guessed
from medleak.inversion.dp_audit.planted import PlantedRun
from medleak.inversion.results.files import write_json

COUNTS = Guessed(
    planted=400,
    guessed=120,
    right=92,
    delta=1e-5,
    confidence=0.95,
    claimed=7.41,
    bound=0.78,
    gaussian=1.2,
    most=3.45,
)
FOUND = PlantedRun(
    site="site-1",
    canaries="gradients",
    rounds=(0, 1),
    guessed=COUNTS,
    by="the site's ledger",
    needed=120,
    scaled=1.42,
    apart=1.0,
)


@pytest.fixture
def records(tmp_path):
    return a_run(tmp_path, sites=1, rounds=2) / "records"


def test_the_file_names_its_run_and_the_updates_that_it_is_about(records, tmp_path):
    write(tmp_path / "new" / "audit", records, [FOUND], {"site-2": "its list\nis missing"})
    content = json.loads((tmp_path / "new" / "audit" / FILE).read_text())
    assert content["record"] == read_manifest(records).identity()
    assert content["updates"] == ["0/site-1", "1/site-1"]
    assert content["sites"]["site-1"]["bound"] == 0.78
    assert content["not_tested"] == [{"what": "site-2", "why": "its list is missing"}]


def test_the_audit_of_another_run_is_refused(records, tmp_path):
    require_of_this_run(tmp_path, records)  # no audit is there yet
    write_json(tmp_path / "config.json", {"record": read_manifest(records).identity()})
    require_of_this_run(tmp_path, records)
    write_json(tmp_path / "config.json", {"record": {"job": "another"}})
    with pytest.raises(ValueError, match="audit of another run"):
        require_of_this_run(tmp_path, records)
