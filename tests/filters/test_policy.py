"""Tests of medleak.filters.policy: the files that a site gets, and what they let a job do."""

import json
import stat

import pytest
from nvflare.app_common.default_component_policy import DEFAULT_CLASS_ALLOW_LIST

from medleak.filters import doctor, policy
from medleak.filters.adapters.examination import kit as kits
from medleak.filters.allowed import DANGEROUS, SERVER_CLASSES, SITE_CLASSES, way_out
from medleak.filters.doctor import trials
from medleak.filters.policy import HEURISTIC, Choice
from medleak.filters.privacy import accounting

BOUNDED = policy.clipped(target_epsilon=4, rounds=10, max_grad_norm=1.5)
# As NVFlare provisions it.
ROLES = {"project_admin": "any", "lead": {"submit_job": "any", "byoc": "any"}, "member": ["o:us"]}


def write(path, content):
    path.write_text(json.dumps(content))


@pytest.fixture
def kit(tmp_path):
    root = tmp_path / "site-1"
    for name in ("startup", "local"):
        (root / name).mkdir(parents=True)
    write(root / "startup/fed_client.json", {"format_version": 2})
    write(
        root / "local/authorization.json.default", {"format_version": "1.0", "permissions": ROLES}
    )
    streamer = "nvflare.app_common.logging.site_log_streamer.SiteLogStreamer"
    write(
        root / "local/resources.json.default",
        {
            "format_version": 2,
            "class_allow_list": list(DEFAULT_CLASS_ALLOW_LIST),
            "allow_log_streaming": True,
            "client": {"compression": "Gzip"},
            "components": [{"id": "s", "path": streamer}, {"id": "m", "path": "mine.Manager"}],
        },
    )
    return root


def applied(kit, choice):
    policy.write(kit, policy.files(kit, choice), choice)
    return [c for c in doctor.examine(kit) if c.name != "installation"]


@pytest.mark.parametrize(
    "choice", [BOUNDED, Choice(defence=HEURISTIC), Choice(defence="percentile_gaussian:sigma0=100")]
)
def test_what_is_written_passes_the_doctor(choice, kit):
    checks = applied(kit, choice)
    assert {c.status for c in checks} == {"ok"}, checks
    assert doctor.verdict(checks) == doctor.PROTECTED


def test_the_noise_is_the_least_that_keeps_the_limit_over_the_rounds(kit):
    applied(kit, BOUNDED)
    written = json.loads((kit / "local/privacy.json").read_text())
    (scope,) = written["scopes"]
    mechanism, book, notes = scope["task_result_filters"]
    assert notes["path"].endswith("SentinelNotes")
    assert mechanism["args"]["max_grad_norm"] == 1.5
    assert book["args"]["target_epsilon"] == 4
    chain = kits.load_policy(kit).chains[0]
    event = next(g.event for g in trials.guarantees(chain) or () if g is not None)
    assert 3.9 < accounting.epsilon([event] * 10, 1e-5) <= 4
    assert accounting.epsilon([event] * 11, 1e-5) > 4


def test_what_the_kit_had_otherwise_stays(kit):
    applied(kit, BOUNDED)
    resources = json.loads((kit / "local/resources.json").read_text())
    assert resources["client"] == {"compression": "Gzip"}
    assert [c["id"] for c in resources["components"]] == ["m"]
    assert resources["allow_log_streaming"] is False
    rules = json.loads((kit / "local/authorization.json").read_text())["permissions"]
    assert rules["lead"] == {"submit_job": "any", "byoc": "none", "shell_commands": "none"}
    assert rules["project_admin"]["manage_job"] == "any"
    assert {r["byoc"] for r in rules.values()} == {"none"}


def test_no_class_that_sends_past_the_filters_is_admitted(kit):
    applied(kit, BOUNDED)
    resources = kits.load_resources(kit)
    admitted = [n for n in (*DANGEROUS, *DEFAULT_CLASS_ALLOW_LIST) if kits.admits(resources, n)]
    assert admitted == []
    assert all(kits.admits(resources, n) for n in SITE_CLASSES)
    assert not [n for n in (*SITE_CLASSES, *SERVER_CLASSES) if way_out(n)]
    assert not [n for n in (*SITE_CLASSES, *SERVER_CLASSES) if n.endswith(".") or "*" in n]


def test_files_are_their_owners_only(kit):
    (kit / "medleak_ledger.jsonl").touch(0o644)
    applied(kit, BOUNDED)
    for name in ("privacy.json", "resources.json", "authorization.json"):
        assert stat.S_IMODE((kit / "local" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((kit / "medleak_ledger.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE(kit.stat().st_mode) == 0o700


def test_a_server_gets_its_own_classes_and_no_filters(kit):
    (kit / "startup/fed_client.json").rename(kit / "startup/fed_server.json")
    wanted = policy.files(kit, BOUNDED)
    assert sorted(p.name for p in wanted) == ["authorization.json", "resources.json"]
    policy.write(kit, wanted, BOUNDED)
    resources = json.loads((kit / "local/resources.json").read_text())
    assert resources["class_allow_list"] == list(SERVER_CLASSES)


def test_networks_of_the_operator_are_written_apart(kit):
    choice = Choice(defence=HEURISTIC, networks=("mylab.nets.",))
    applied(kit, choice)
    assert json.loads((kit / "local/medleak.json").read_text()) == {"networks": ["mylab.nets."]}


def test_writing_twice_changes_nothing(kit):
    wanted = policy.files(kit, BOUNDED)
    assert len(list(policy.changed(kit, wanted))) == 3
    policy.write(kit, wanted, BOUNDED)
    assert not list(policy.changed(kit, policy.files(kit, BOUNDED)))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (lambda: Choice(defence=HEURISTIC, target_epsilon=8.0), "needs a mechanism"),
        (lambda: Choice(defence="no_such"), "Unknown defence"),
        (lambda: policy.clipped(target_epsilon=8, rounds=0, max_grad_norm=1), "at least 1"),
    ],
)
def test_what_cannot_be_met_is_refused(choice, message, kit):
    with pytest.raises(ValueError, match=message):
        policy.files(kit, choice())


def test_a_folder_that_is_no_kit_and_a_broken_file_are_named(kit, tmp_path):
    with pytest.raises(ValueError, match="give a startup kit"):
        policy.files(tmp_path, BOUNDED)
    (kit / "local/resources.json").write_text("{")
    with pytest.raises(ValueError, match=r"resources\.json is no JSON"):
        policy.files(kit, BOUNDED)
