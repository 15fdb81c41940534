"""Tests of medleak.filters.doctor: every way round the filters is said."""

import json
import shutil

import pytest

from medleak.filters import doctor
from medleak.filters.privacy import ledger
from medleak.filters.privacy.ledger import Spend

PATH = "medleak.filters.adapters."
NOISE = {"path": f"{PATH}PercentileGaussian", "args": {"sigma0": 10}}
MECHANISM = {
    "path": f"{PATH}ClippedGaussian",
    "args": {"max_grad_norm": 1.0, "noise_multiplier": 8.0},
}
LEDGER = {"path": f"{PATH}PrivacyLedger", "args": {"target_delta": 1e-5}}
GLOBAL = {"path": f"{PATH}GlobalModel", "args": {}}


def scope(*results, name="default", data=(GLOBAL,)):
    return {
        "name": name,
        "task_data_filters": list(data),
        "task_result_filters": list(results),
    }


def policy(*scopes, default="default"):
    return {"scopes": list(scopes), "default_scope": default}


@pytest.fixture
def kit(tmp_path):
    """A startup kit on which nothing is to be said but the way medleak is installed here."""
    root = tmp_path / "site-1"
    (root / "startup").mkdir(parents=True)
    (root / "local").mkdir()
    write(root / "local/privacy.json", policy(scope(NOISE)))
    write(root / "local/authorization.json", {"permissions": {"lead": {"byoc": "none"}}})
    write(
        root / "local/resources.json",
        {"class_allow_list": ["nvflare.", "medleak."], "class_list_enforcement_mode": "enforce"},
    )
    return root


@pytest.fixture
def job(tmp_path):
    """A well-behaved job."""
    root = tmp_path / "job"
    (root / "app/config").mkdir(parents=True)
    write(root / "meta.json", {"name": "job"})
    write(root / "app/config/config_fed_client.json", client())
    return root


def client(tasks=("train",), transfer="DIFF", results=()):
    executor = {"path": "x.Y", "args": {"params_transfer_type": transfer}}
    return {
        "executors": [{"tasks": list(tasks), "executor": executor}],
        "task_result_filters": list(results),
    }


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def said(checks, status):
    return [f"{c.name}: {c.detail}" for c in checks if c.status == status]


def here(checks):
    """Without what depends on how this test run's medleak was installed."""
    return [c for c in checks if c.name != "installation"]


def test_a_sound_site_passes(kit, job):
    checks = here(doctor.examine(kit, job))
    assert said(checks, "failed") == []
    assert said(checks, "warning") == []
    assert doctor.healthy(checks)


def test_a_folder_that_is_no_kit_is_named(tmp_path):
    (only,) = doctor.examine(tmp_path)
    assert only.status == "failed"
    assert "has no startup/" in only.detail


POLICIES = {
    "default_scope is not one of": policy(scope(NOISE), default="another"),
    "a job that names this scope sends bare": policy(scope(NOISE), scope(name="open")),
    "no medleak filter": policy(scope({"path": "nvflare.X"})),
    "GlobalModel is missing": policy(scope(NOISE, data=())),
    "has a seed": policy(scope({**NOISE, "args": {"sigma0": 1, "seed": 3}})),
    "statistics bare": policy(scope({**NOISE, "args": {"sigma0": 1, "buffers": "pass"}})),
    "cannot be built": policy(scope({**NOISE, "args": {"sigma0": -1}})),
    "got an unexpected keyword": policy(scope({**NOISE, "args": {"sigma": 1}})),
    "no JSON with scopes": {},
    "put it last": policy(scope(MECHANISM, LEDGER, NOISE)),
}


@pytest.mark.parametrize("message", POLICIES)
def test_a_policy_with_a_hole_fails(message, kit):
    write(kit / "local/privacy.json", POLICIES[message])
    failed = said(here(doctor.examine(kit)), "failed")
    assert any(message in f for f in failed), failed


def test_a_missing_policy_fails(kit):
    (kit / "local/privacy.json").unlink()
    assert any("privacy.json is missing" in f for f in said(doctor.examine(kit), "failed"))


def test_a_mechanism_without_ledger_is_a_warning(kit):
    write(kit / "local/privacy.json", policy(scope(MECHANISM)))
    assert any("not counted over rounds" in w for w in said(doctor.examine(kit), "warning"))
    write(kit / "local/privacy.json", policy(scope(MECHANISM, LEDGER)))
    checks = here(doctor.examine(kit))
    assert said(checks, "warning") == said(checks, "failed") == []
    assert any("0 entries, intact and writable" in c for c in said(checks, "ok"))


def test_a_damaged_or_unwritable_ledger_fails(kit):
    write(kit / "local/privacy.json", policy(scope(MECHANISM, LEDGER)))
    spend = Spend(job="j", round=0, site="s", defences=[], guarantees=[], delta=1e-5)
    path = kit / "medleak_ledger.jsonl"
    ledger.append(path, spend)
    assert any("1 entries, intact" in c for c in said(doctor.examine(kit), "ok"))
    path.write_bytes(path.read_bytes().replace(b'"j"', b'"k"'))
    assert any("damaged" in f for f in said(doctor.examine(kit), "failed"))
    path.unlink()
    path.mkdir()
    assert not doctor.healthy(here(doctor.examine(kit)))


def test_a_package_that_could_replace_ours_fails(kit):
    (kit / "local/custom/medleak").mkdir(parents=True)
    assert any("may replace the installed" in f for f in said(doctor.examine(kit), "failed"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("authorization.json", {"permissions": {"lead": {"byoc": "any"}}}, "lead may bring code"),
        ("authorization.json", {"permissions": {"admin": "any"}}, "admin may bring code"),
        ("resources.json", {"class_allow_list": ["*"]}, "any class may be built"),
        (
            "resources.json",
            {"class_allow_list": ["medleak."], "class_list_enforcement_mode": "warn"},
            "any class may be built",
        ),
        ("resources.json", {"class_allow_list": ["nvflare."]}, "cannot be built here"),
        (
            "resources.json",
            {"class_allow_list": ["medleak."], "allow_log_streaming": True},
            "logs are streamed",
        ),
    ],
)
def test_what_a_person_must_decide_is_a_warning(file, content, message, kit):
    write(kit / "local" / file, content)
    checks = here(doctor.examine(kit))
    assert any(message in w for w in said(checks, "warning"))
    assert doctor.healthy(checks)


def test_defaults_of_the_kit_are_read_where_the_site_has_no_own_file(kit):
    (kit / "local/authorization.json").unlink()
    write(kit / "local/authorization.json.default", {"permissions": {"lead": {"byoc": "any"}}})
    assert any("lead may bring code" in w for w in said(doctor.examine(kit), "warning"))


CONVERT = {"tasks": ["train"], "filters": [{"path": "nvflare.x.ConvertWeights"}]}
JOBS = {
    "sends FULL weights": ("failed", client(transfer="FULL")),
    "runs the tasks train2": ("warning", client(tasks=["train2"])),
    'filter chain for "*"': ("failed", client(results=[{"tasks": ["*"], "filters": [NOISE]}])),
    "uses ConvertWeights": ("failed", client(results=[CONVERT])),
}


@pytest.mark.parametrize("message", JOBS)
def test_a_job_that_goes_round_the_filters_is_said(message, kit, job):
    status, config = JOBS[message]
    write(job / "app/config/config_fed_client.json", config)
    assert any(message in c for c in said(doctor.examine(kit, job), status))


def test_a_job_without_transfer_type_sends_full_weights(kit, job):
    config = client()
    del config["executors"][0]["executor"]["args"]["params_transfer_type"]
    write(job / "app/config/config_fed_client.json", config)
    assert any("sends FULL weights" in c for c in said(doctor.examine(kit, job), "failed"))


def test_a_job_that_brings_its_own_medleak_is_said(kit, job):
    (job / "app/custom/medleak/filters").mkdir(parents=True)
    failed = said(doctor.examine(kit, job), "failed")
    assert any("tries to replace the installed package" in f for f in failed)


def test_a_job_with_an_unknown_scope_is_refused_by_nvflare(kit, job):
    write(job / "meta.json", {"name": "job", "scope": "none"})
    assert any("unknown scope 'none'" in c for c in said(doctor.examine(kit, job), "ok"))


def test_a_folder_that_is_no_job_is_named(kit, job):
    shutil.rmtree(job)
    assert any("no readable meta.json" in c for c in said(doctor.examine(kit, job), "failed"))


@pytest.mark.parametrize(
    ("origin", "status", "message"),
    [
        ({"dir_info": {"editable": True}}, "failed", "editable"),
        ({"dir_info": {}}, "ok", "installed from its wheel"),
        (None, "ok", "installed from its wheel"),
    ],
)
def test_only_a_regular_install_is_safe_from_shadowing(origin, status, message, kit, monkeypatch):
    class Installed:
        version = "1.0"

        @staticmethod
        def read_text(name):
            assert name == "direct_url.json"
            return json.dumps(origin) if origin is not None else None

    monkeypatch.setattr(doctor.importlib.metadata, "distribution", lambda name: Installed)
    assert any(message in c for c in said(doctor.installation(kit), status))


def test_a_broken_cipher_fails(monkeypatch):
    assert [c.status for c in doctor.entropy()] == ["ok"]
    monkeypatch.setattr(doctor.os, "urandom", lambda size: bytes(size))
    assert [c.status for c in doctor.entropy()] == ["failed"]
