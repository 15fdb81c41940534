"""Tests of building a job as NVFlare does: whose code runs, and what a constructor refuses."""

import json
import re
import sys

import pytest
from nvflare.fuel.utils.config_service import ConfigService
from tests.custom.flare.checking.test_job_check import (
    CLIENT,
    HELLO,
    NETWORK,
    attached,
    changed,
    check,
)

from medleak.custom.attach import check_folder
from medleak.custom.flare.checking.built_job import built


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (changed(CLIENT), "missing 1 required .*'execution_mode'"),
        (changed(HELLO, no_such=1), "unexpected keyword argument 'no_such'"),
    ],
)
def test_what_a_constructor_refuses_is_said_before_a_round_of_training(tmp_path, client, words):
    done = check(tmp_path, client=client)
    assert done.verdict == "fails"
    (line,) = done.seen
    assert "NVFlare cannot build the client" in line
    assert re.search(words, line)


def test_code_of_the_job_is_not_imported_unless_it_is_granted(tmp_path):
    trap = tmp_path / "ran"
    new = attached(tmp_path, network=f"open({str(trap)!r}, 'w').close()\n" + NETWORK)
    for allow in ((), ("other.",)):
        done = check_folder(new, allow=allow)
        assert done.verdict == "not known"
        assert "--allow-model model." in done.seen[0]
    assert not trap.exists()
    assert check_folder(new, allow=["model."]).verdict == "works"
    assert trap.exists()
    assert "model" not in sys.modules
    assert not any("medleak_check" in path for path in sys.path)


def test_a_network_whose_package_is_not_here_is_not_known(tmp_path):
    done = check(tmp_path, network="import no_such_package_here\n" + NETWORK)
    assert done.verdict == "not known"
    assert "not installed here" in done.seen[0]


def test_code_that_exits_when_it_is_imported_ends_no_check(tmp_path):
    done = check(tmp_path, network="raise SystemExit(0)\n")
    assert done.verdict == "fails"
    assert "SystemExit" in done.seen[0]


def test_server_and_sites_are_nvflares_own_and_nothing_of_them_stays(tmp_path):
    new = attached(tmp_path)
    before = dict(vars(ConfigService))
    with built(new, allow=["model."]) as made:
        home = made.server.workspace.get_root_dir()
        assert type(made.server.runner).__name__ == "ServerRunnerConfig"
        assert [site.name for site in made.sites] == ["site-1"]
        assert made.meta["name"] == "foreign"
    assert not (tmp_path / home).exists()
    assert dict(vars(ConfigService)) == before
    files = {p.name for p in new.rglob("*")}
    assert "__pycache__" not in files
    assert json.loads((new / "meta.json").read_text())["name"] == "foreign"
