"""Tests of what is said of a policy and its scopes."""

import pytest
from tests.filters.doctor.kits import (
    BUDGET,
    GLOBAL,
    LEDGER,
    LIMITED,
    MECHANISM,
    NOISE,
    PATH,
    SENTINEL,
    WORKFLOW,
    here,
    policy,
    said,
    scope,
    write,
)

from medleak.filters import doctor
from medleak.filters.privacy import ledger
from medleak.filters.privacy.ledger import Spend

POLICIES = {
    "default_scope is not one of": policy(scope(NOISE), default=None),
    "NVFlare cannot load": policy(scope(NOISE), default="another"),
    "a job that names this scope sends bare": policy(scope(NOISE), scope(name="open")),
    "no medleak filter": policy(
        scope({"path": "nvflare.app_common.filters.exclude_vars.ExcludeVars", "args": {}})
    ),
    "GlobalModel is missing": policy(scope(NOISE, data=())),
    "has a seed": policy(scope({**NOISE, "args": {"sigma0": 1, "seed": 3}})),
    "statistics bare": policy(scope({**NOISE, "args": {"sigma0": 1, "buffers": "pass"}})),
    "voids its guarantee": policy(
        scope({**MECHANISM, "args": {**MECHANISM["args"], "buffers": "pass"}}, LEDGER)
    ),
    "sigma0 must be": policy(scope({**NOISE, "args": {"sigma0": -1}})),
    "got an unexpected keyword": policy(scope({**NOISE, "args": {"sigma": 1}})),
    "no policy at all": {},
    "put it last": policy(scope(MECHANISM, LEDGER, NOISE)),
    'has "direction": "in"': policy(scope({**NOISE, "direction": "IN"}, NOISE)),
    'PercentileGaussian in task_result_filters has "disabled": true': policy(
        scope({**NOISE, "disabled": True}, NOISE)
    ),
    'PrivacyBudget in task_data_filters has "direction": "out"': policy(
        scope(MECHANISM, LIMITED, data=(WORKFLOW, {**BUDGET, "direction": "out"}, GLOBAL))
    ),
    "what left is 100.00 % of the update": policy(scope({**NOISE, "args": {"sigma0": 2e-3}})),
    "so nothing leaves and no job will run": policy(scope({**NOISE, "args": {"sigma0": 1e-9}})),
    "weights leave bare": policy(scope({"path": f"{PATH}TopK", "args": {"fraction": 0.999}})),
    "task 'train': weights leave bare": policy(scope({"path": f"{PATH}Withhold", "args": {}})),
    "the budget is never spent. Give both one file": policy(
        scope(
            MECHANISM,
            {**LIMITED, "args": {**LIMITED["args"], "path": "other.jsonl"}},
            data=(WORKFLOW, BUDGET, GLOBAL),
        )
    ),
    "PrivacyBudget without PrivacyLedger": policy(
        scope(MECHANISM, data=(WORKFLOW, BUDGET, GLOBAL))
    ),
    "which is not what the result filters do": policy(
        scope(
            {**MECHANISM, "args": {"max_grad_norm": 1, "noise_multiplier": 80}},
            LIMITED,
            data=(WORKFLOW, BUDGET, GLOBAL),
        )
    ),
    "which promises nothing": policy(
        scope({**MECHANISM, "args": {"max_grad_norm": 1, "noise_multiplier": 1e-3}}, LEDGER)
    ),
    "a failure so likely promises nothing": policy(
        scope(MECHANISM, {**LEDGER, "args": {"target_delta": 0.4}})
    ),
    "scopes count on different ledgers": policy(
        scope(MECHANISM, LEDGER),
        scope(MECHANISM, {**LEDGER, "args": {"target_delta": 1e-5, "path": "b"}}, name="b"),
    ),
    "every update is refused before training": policy(
        scope(NOISE, data=({**WORKFLOW, "args": {"tasks": ["learn"]}}, GLOBAL))
    ),
    "clip": policy(
        scope({**MECHANISM, "args": {"max_grad_norm": 1e-200, "noise_multiplier": 8}}, LEDGER)
    ),
}


MESSAGES = {"clip": ("no noise is left", "withheld")}


MALFORMED = {
    "a list of names": {"scopes": ["default"], "default_scope": "default"},
    "no filters": {"scopes": [{"name": "d", "task_result_filters": None}], "default_scope": "d"},
    "scopes as an object": {"scopes": {"default": {}}, "default_scope": "default"},
    "a list": [1, 2],
    "a name that is no text": policy(scope(NOISE, name=3)),
    "the same name twice": policy(scope(NOISE), scope(NOISE)),
    "a class that is not there": policy(scope({"path": "nowhere.Filter"})),
    "something that is no filter": policy(scope({"path": "collections.OrderedDict"})),
}


@pytest.mark.parametrize("form", MALFORMED)
def test_a_policy_of_another_form_is_one_failed_check(form, kit):
    write(kit / "local/privacy.json", MALFORMED[form])
    checks = here(doctor.examine(kit))
    assert said(checks, "failed")
    assert doctor.verdict(checks) == doctor.UNPROTECTED


def test_a_policy_that_is_no_json_is_one_failed_check(kit):
    (kit / "local/privacy.json").write_text("{scopes")
    assert any("NVFlare cannot load" in f for f in said(doctor.examine(kit), "failed"))


def test_references_in_a_policy_are_followed_as_nvflare_follows_them(kit):
    weak = policy(scope({**NOISE, "args": {"sigma0": "{strength}"}})) | {"strength": 1e-9}
    write(kit / "local/privacy.json", weak)
    assert any("leave bare" in f for f in said(doctor.examine(kit), "failed"))


@pytest.mark.parametrize("message", POLICIES)
def test_a_policy_with_a_hole_fails(message, kit):
    write(kit / "local/privacy.json", POLICIES[message])
    failed = said(here(doctor.examine(kit)), "failed")
    wanted = MESSAGES.get(message, (message,))
    assert any(w in f for f in failed for w in wanted), failed


def test_a_missing_policy_fails(kit):
    (kit / "local/privacy.json").unlink()
    assert any("privacy.json is missing" in f for f in said(doctor.examine(kit), "failed"))


def test_a_mechanism_without_ledger_is_a_warning(kit):
    write(kit / "local/privacy.json", policy(scope(MECHANISM)))
    assert any("not counted over rounds" in w for w in said(doctor.examine(kit), "warning"))
    data = (SENTINEL, WORKFLOW, BUDGET, GLOBAL)
    write(kit / "local/privacy.json", policy(scope(MECHANISM, LIMITED, data=data)))
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


def test_without_a_guard_of_workflows_a_person_is_told(kit):
    write(kit / "local/privacy.json", policy(scope(NOISE, data=(GLOBAL,))))
    warned = said(doctor.examine(kit), "warning")
    assert any("swarm" in w for w in warned)
    assert any("refused only after it ran" in w for w in warned)


def test_the_canary_leaves_the_sites_own_files_alone(kit):
    write(kit / "local/privacy.json", policy(scope(MECHANISM, LEDGER)))
    before = {p: p.read_bytes() for p in kit.rglob("*") if p.is_file()}
    doctor.examine(kit)
    assert {p: p.read_bytes() for p in kit.rglob("*") if p.is_file()} == before


def test_a_site_that_looks_at_no_model_is_a_warning(kit):
    write(kit / "local/privacy.json", policy(scope(MECHANISM, LEDGER, data=(WORKFLOW, GLOBAL))))
    assert any("Sentinel is missing" in w for w in said(doctor.examine(kit), "warning"))


def test_a_sentinel_that_only_warns_or_has_no_notes_is_a_warning(kit):
    warns = {**SENTINEL, "args": {"on_alarm": "warn"}}
    chain = scope(MECHANISM, LEDGER, data=(warns, WORKFLOW, GLOBAL))
    write(kit / "local/privacy.json", policy(chain))
    assert any("Sentinel only warns" in w for w in said(doctor.examine(kit), "warning"))
    rehearsal = {"path": f"{PATH}Rehearsal", "args": {"measure_args": {}, "on_alarm": "warn"}}
    chain = scope(MECHANISM, LEDGER, data=(SENTINEL, rehearsal, WORKFLOW, GLOBAL))
    write(kit / "local/privacy.json", policy(chain))
    assert any("Rehearsal only warns" in w for w in said(doctor.examine(kit), "warning"))
    chain = scope(MECHANISM, LEDGER)
    chain["task_result_filters"] = [MECHANISM, LEDGER]
    write(kit / "local/privacy.json", policy(chain))
    assert any("SentinelNotes is missing" in w for w in said(doctor.examine(kit), "warning"))


@pytest.mark.parametrize("sentinel_first", [True, False])
def test_a_model_that_is_looked_at_with_the_sites_own_values_in_it_is_not_the_servers(
    kit, sentinel_first
):
    restore = {"path": f"{PATH}RestoreWithheld", "args": {}}
    pair = (SENTINEL, restore) if sentinel_first else (restore, SENTINEL)
    withhold = {"path": f"{PATH}Withhold", "args": {"batch_norm": "withhold_all"}}
    write(kit / "local/privacy.json", policy(scope(withhold, NOISE, data=(*pair, GLOBAL))))
    found = [f for f in said(doctor.examine(kit), "failed") if "not at what the server sent" in f]
    assert bool(found) != sentinel_first
