"""Tests of medleak.filters.doctor: every way round the filters is said."""

import importlib.metadata
import json
import os
import shutil
import time

import pytest

from medleak.filters import doctor
from medleak.filters.allowed import INSTALLED_CLIENT, SITE_CLASSES
from medleak.filters.doctor import trials
from medleak.filters.privacy import ledger
from medleak.filters.privacy.ledger import Spend

PATH = "medleak.filters.adapters."
NOISE = {"path": f"{PATH}PercentileGaussian", "args": {"sigma0": 10, "scope": "group"}}
MECHANISM = {
    "path": f"{PATH}ClippedGaussian",
    "args": {"max_grad_norm": 1.0, "noise_multiplier": 8.0},
}
LEDGER = {"path": f"{PATH}PrivacyLedger", "args": {"target_delta": 1e-5}}
GLOBAL = {"path": f"{PATH}GlobalModel", "args": {}}
WORKFLOW = {"path": f"{PATH}WorkflowGuard", "args": {}}
BUDGET = {
    "path": f"{PATH}PrivacyBudget",
    "args": {
        "planned": "clipped_gaussian:max_grad_norm=1,noise_multiplier=8",
        "target_epsilon": 8,
        "target_delta": 1e-5,
    },
}
LIMITED = {"path": f"{PATH}PrivacyLedger", "args": {"target_delta": 1e-5, "target_epsilon": 8}}


def scope(*results, name: object = "default", data=(WORKFLOW, GLOBAL)):
    return {
        "name": name,
        "task_data_filters": list(data),
        "task_result_filters": list(results),
    }


def policy(*scopes, default: str | None = "default"):
    return {"scopes": list(scopes), "default_scope": default}


@pytest.fixture
def quick(monkeypatch):
    """One size of update is enough where the other is not what a test is about."""
    monkeypatch.setattr(trials, "resnet18", trials.small)


@pytest.fixture
def kit(tmp_path, quick):
    """A startup kit on which nothing is to be said but the way medleak is installed here."""
    root = tmp_path / "site-1"
    (root / "startup").mkdir(parents=True)
    (root / "local").mkdir()
    write(root / "local/privacy.json", policy(scope(NOISE)))
    write(root / "local/authorization.json", rules({"lead": {"byoc": "none"}}))
    write(root / "local/resources.json", resources())
    return root


@pytest.fixture
def job(tmp_path):
    """A well-behaved job."""
    root = tmp_path / "job"
    (root / "app/config").mkdir(parents=True)
    write(root / "meta.json", {"name": "job"})
    write(root / "app/config/config_fed_client.json", client())
    return root


ARGUMENTS = "--batch_size 4 --model_path medleak.custom.networks.resnet18"


def client(tasks=("train",), executor=INSTALLED_CLIENT, results=(), args=None, **more):
    args = {"task_script_args": ARGUMENTS} if args is None else args
    return {
        "format_version": 2,
        "executors": [{"tasks": list(tasks), "executor": {"path": executor, "args": args}}],
        "task_result_filters": list(results),
        **more,
    }


CLIENT_API = "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor"


def script(job, **args):
    """The client of a job that brings its own script."""
    (job / "app/custom").mkdir(exist_ok=True)
    (job / "app/custom/own.py").write_text("")
    args = {"execution_mode": "in_process", "task_script_path": "own.py", **args}
    return client(executor=CLIENT_API, args=args)


def rules(permissions):
    return {"format_version": "1.0", "permissions": permissions}


def resources(**more):
    return {
        "class_allow_list": list(SITE_CLASSES),
        "class_list_enforcement_mode": "enforce",
        "allow_log_streaming": False,
        **more,
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
    data = (WORKFLOW, BUDGET, GLOBAL)
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


def test_a_package_that_could_replace_ours_fails(kit):
    (kit / "local/custom/medleak").mkdir(parents=True)
    assert any("may replace the installed" in f for f in said(doctor.examine(kit), "failed"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("authorization.json", rules({"lead": {"byoc": "any"}}), "lead may bring code"),
        ("authorization.json", rules({"admin": "any"}), "admin may bring code"),
        ("authorization.json", rules({"lead": {"byoc": ["o:us"]}}), "lead may bring code"),
        ("authorization.json", rules({"lead": {"byoc": "not o:us"}}), "lead may bring code"),
        ("resources.json", resources(allow_log_streaming=True), "logs are streamed"),
        ("resources.json", {"class_allow_list": list(SITE_CLASSES)}, "logs are streamed"),
        ("resources.json", resources(allow_log_streaming="false"), "logs are streamed"),
        ("resources.json", resources(class_allow_list=[SITE_CLASSES[2]]), "cannot be built here"),
        ("resources.json", resources(class_allow_list=["mylab.nets."]), "you vouch for that"),
    ],
)
def test_what_a_person_must_decide_is_a_warning(file, content, message, kit):
    write(kit / "local" / file, content)
    checks = here(doctor.examine(kit))
    assert any(message in w for w in said(checks, "warning"))
    assert doctor.healthy(checks)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("resources.json", resources(class_allow_list=["*"]), "any class may be built"),
        ("resources.json", resources(class_list_enforcement_mode="warn"), "any class may be built"),
        ("resources.json", resources(class_allow_list=["nvflare.", "medleak."]), "ClientAPIExec"),
        ("resources.json", resources(class_allow_list=["nvflare.app_common.ccwf."]), "Swarm"),
        ("resources.json", resources(class_allow_list=["medleak.filters."]), "admits Guard"),
        ("resources.json", {"allow_log_streaming": False}, "NVFlare's built-in list admits"),
        ("resources.json", resources(class_allow_list="nvflare."), "is not known"),
        ("resources.json", resources(class_allow_list=["nvflare"]), "is not known"),
        ("resources.json", resources(class_list_enforcement_mode="off"), "is not known"),
        ("resources.json", [], "is not known"),
        ("authorization.json", {"permissions": {"lead": {"byoc": "none"}}}, "is not known"),
        ("authorization.json", rules({"lead": {"byoc": "nobody"}}), "is not known"),
        ("authorization.json", rules({}), "is not known"),
    ],
)
def test_rules_that_open_the_site_or_cannot_be_read_fail(file, content, message, kit):
    write(kit / "local" / file, content)
    assert any(message in f for f in said(here(doctor.examine(kit)), "failed"))


@pytest.mark.parametrize("name", ["authorization.json", "resources.json"])
def test_rules_that_are_no_json_fail(name, kit):
    (kit / "local" / name).write_text("{broken")
    assert any("is no JSON" in f for f in said(doctor.examine(kit), "failed"))


def test_a_site_without_rules_lets_everybody_bring_code(kit):
    (kit / "local/authorization.json").unlink()
    assert any("lets everybody bring" in f for f in said(doctor.examine(kit), "failed"))


def test_defaults_of_the_kit_are_read_where_the_site_has_no_own_file(kit):
    (kit / "local/authorization.json").unlink()
    write(kit / "local/authorization.json.default", rules({"lead": {"byoc": "any"}}))
    assert any("lead may bring code" in w for w in said(doctor.examine(kit), "warning"))


CONVERT = {"tasks": ["train"], "filters": [{"path": "nvflare.x.ConvertWeights"}]}
OUTSIDE = {"execution_mode": "external_process", "command": ["sh", "-c", "id"]}
STREAMER = "nvflare.app_common.logging.job_log_streamer.JobLogStreamer"


def component(path, **args):
    return client(components=[{"id": "c", "path": path, "args": args}])


def network(words):
    return client(args={"task_script_args": words})


JOBS = {
    "runs the tasks train2": ("warning", client(tasks=["train2"])),
    'filter chain for "*"': ("failed", client(results=[{"tasks": ["*"], "filters": [NOISE]}])),
    "uses ConvertWeights": ("failed", client(results=[CONVERT])),
    "runs a command of its own": ("failed", client(executor=CLIENT_API, args=OUTSIDE)),
    "a file of the site's": (
        "failed",
        client(
            executor=CLIENT_API,
            args={"execution_mode": "in_process", "task_script_path": "/usr/lib/x.py"},
        ),
    ),
    "Flower's own messages": (
        "failed",
        client(executor="nvflare.app_opt.flower.executor.FlowerExecutor", args={}),
    ),
    "peer to peer": (
        "failed",
        client(executor="nvflare.app_common.ccwf.cyclic_client_ctl.CyclicClientController"),
    ),
    "streams logs": ("failed", component(STREAMER)),
    "sends events": (
        "failed",
        component("nvflare.app_common.widgets.convert_to_fed_event.ConvertToFedEvent"),
    ),
    "has the executor x.Y, which is not known": ("not examined", client(executor="x.Y")),
    "has the argument of B, nvflare.private.X": (
        "failed",
        component("a.B", inner={"path": "nvflare.private.X"}),
    ),
    "names the network 'os.system'": ("failed", network("--model_path os.system")),
    "names the network 'shutil.rmtree'": ("failed", network("--model_path=shutil.rmtree")),
    "names the network 'runpy.run_path'": (
        "failed",
        network("--model_path medleak.custom.networks.unet --model_pa runpy.run_path"),
    ),
    "names the network 'medleak.custom.networks.torch.hub.load'": (
        "failed",
        network("--model_path medleak.custom.networks.torch.hub.load"),
    ),
    "names the network '$SITE_NAME'": ("failed", network("--model_path {SITE_NAME}")),
    "names no network": ("not examined", network("--batch_size 4")),
    "environment variables of the site": ("warning", network(ARGUMENTS + " --run_dir {$HOSTVAR}")),
    "whose arguments name code": (
        "failed",
        client(results=[{"tasks": ["train"], "filters": [{"path": f"{PATH}Guard"}]}]),
    ),
    "names classes under 'extra'": ("not examined", client(extra={"a": {"path": "os.system"}})),
    "no executors": ("not examined", {"format_version": 2}),
}


@pytest.mark.parametrize("message", JOBS)
def test_a_job_that_goes_round_the_filters_is_said(message, kit, job):
    status, config = JOBS[message]
    write(job / "app/config/config_fed_client.json", config)
    checks = here(doctor.examine(kit, job))
    assert any(message in c for c in said(checks, status)), checks
    if status != "warning":
        assert not doctor.healthy(checks)


@pytest.mark.parametrize("args", [{"params_transfer_type": "FULL"}, {}])
def test_a_job_whose_script_sends_full_weights_is_said(args, kit, job):
    write(job / "app/config/config_fed_client.json", script(job, **args))
    checks = doctor.examine(kit, job)
    assert any("sends FULL weights" in c for c in said(checks, "failed"))
    assert any("brings code" in c for c in said(checks, "warning"))


def test_references_in_a_job_are_followed_as_nvflare_follows_them(kit, job):
    hidden = client(executor="{first}.executors.client_api_executor.ClientAPIExecutor", args="{a}")
    hidden |= {"first": "nvflare.app_common", "a": OUTSIDE}
    write(job / "app/config/config_fed_client.json", hidden)
    assert any("runs a command of its own" in c for c in said(doctor.examine(kit, job), "failed"))


HOCON = """
format_version = 2
executors = [{tasks = ["train"]
  executor {path = "nvflare.app_common.ccwf.swarm_client_ctl.SwarmClientController", args {}}}]
"""
YAML = """
format_version: 2
executors:
- tasks: [train]
  executor: {path: nvflare.app_opt.flower.executor.FlowerExecutor, args: {}}
"""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config_fed_client.conf", HOCON, "peer to peer"),
        ("config_fed_client.yml", YAML, "Flower's own"),
        ("config_fed_client.yaml", YAML, "Flower's own"),
        ("config_fed_client.json.default", json.dumps(component(STREAMER)), "streams logs"),
        ("sub/config_fed_client.json", json.dumps(component(STREAMER)), "streams logs"),
    ],
)
def test_every_form_that_nvflare_reads_is_read(name, text, message, kit, job):
    (job / "app/config/config_fed_client.json").unlink()
    path = job / "app/config" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert any(message in c for c in said(doctor.examine(kit, job), "failed"))


@pytest.mark.parametrize("text", ["{broken", "executors: [", "[1]"])
def test_a_configuration_that_cannot_be_read_is_not_examined(text, kit, job):
    (job / "app/config/config_fed_client.json").write_text(text)
    checks = here(doctor.examine(kit, job))
    assert said(checks, "not examined")
    assert doctor.verdict(checks) == doctor.NOT_KNOWN


def test_an_app_of_another_site_is_looked_at_too(kit, job):
    write(job / "app_site-9/config/config_fed_client.json", component(STREAMER))
    assert any("app_site-9 has the" in c for c in said(doctor.examine(kit, job), "failed"))


def test_a_swarm_at_the_server_is_said(kit, job):
    workflow = {"path": "nvflare.app_common.ccwf.swarm_server_ctl.SwarmServerController"}
    write(job / "app/config/config_fed_server.json", {"workflows": [workflow]})
    assert any("SwarmServerController" in c for c in said(doctor.examine(kit, job), "failed"))


def test_a_network_that_the_operator_allows_is_none_of_a_strangers(kit, job):
    write(job / "app/config/config_fed_client.json", network("--model_path mylab.nets.make"))
    assert said(doctor.examine(kit, job), "failed") != said(doctor.examine(kit), "failed")
    write(kit / "local/medleak.json", {"networks": ["mylab.nets."]})
    assert said(doctor.examine(kit, job), "failed") == said(doctor.examine(kit), "failed")


def test_a_job_that_brings_its_own_medleak_is_said(kit, job):
    (job / "app/custom/medleak/filters").mkdir(parents=True)
    failed = said(doctor.examine(kit, job), "failed")
    assert any("tries to replace the installed package" in f for f in failed)


def test_a_job_with_an_unknown_scope_is_refused_by_nvflare(kit, job):
    write(job / "meta.json", {"name": "job", "scope": "none"})
    assert any("unknown scope 'none'" in c for c in said(doctor.examine(kit, job), "ok"))


def test_a_folder_that_is_no_job_is_named(kit, job):
    shutil.rmtree(job)
    checks = doctor.examine(kit, job)
    assert any("no readable meta.json" in c for c in said(checks, "not examined"))


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

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed)
    assert any(message in c for c in said(doctor.installation(kit), status))


def test_a_broken_cipher_fails(monkeypatch):
    assert [c.status for c in doctor.entropy()] == ["ok"]
    monkeypatch.setattr(os, "urandom", lambda size: bytes(size))
    assert [c.status for c in doctor.entropy()] == ["failed"]


@pytest.mark.parametrize("name", ["meta.conf", "meta.yml", "meta.json.default"])
def test_meta_is_read_in_every_form(name, kit, job):
    (job / "meta.json").rename(job / name)
    (job / name).write_text(
        'name: "job"\nscope: "none"' if "json" not in name else '{"scope": "none"}'
    )
    (job / "app" / "meta.json").write_text("{}")  # is none of the job's
    assert any("unknown scope 'none'" in c for c in said(doctor.examine(kit, job), "ok"))


@pytest.mark.parametrize(
    "name", ["app/config/resources.json", "app/x/privacy.json", "fed_client.yml"]
)
def test_a_file_that_nvflare_could_take_for_the_sites_is_said(name, kit, job):
    write(job / name, {"allow_log_streaming": True, "decomposer_module": "antigravity"})
    assert any("a file of the site's kit" in c for c in said(doctor.examine(kit, job), "failed"))


def test_a_broken_list_of_networks_fails(kit, job):
    write(kit / "local/medleak.json", {"networks": "os."})
    assert any("local/medleak.json" in c for c in said(doctor.examine(kit, job), "failed"))


def test_dp_sgd_is_not_known_as_no_canary_can_try_it(kit):
    declare = {"path": f"{PATH}DeclareDPSGD", "args": {}}
    write(kit / "local/privacy.json", policy(scope(declare, LEDGER)))
    checks = here(doctor.examine(kit))
    assert doctor.verdict(checks) == doctor.NOT_KNOWN, said(checks, "failed")


def test_without_a_guard_of_workflows_a_person_is_told(kit):
    write(kit / "local/privacy.json", policy(scope(NOISE, data=(GLOBAL,))))
    warned = said(doctor.examine(kit), "warning")
    assert any("swarm" in w for w in warned)
    assert any("refused only after it ran" in w for w in warned)


@pytest.mark.parametrize("name", ["TopK", "Sign"])
def test_compression_alone_is_said_to_be_without_noise(name, kit):
    args = {"fraction": 0.05} if name == "TopK" else {}
    write(kit / "local/privacy.json", policy(scope({"path": PATH + name, "args": args})))
    assert any("no noise" in c for c in said(doctor.examine(kit), "warning"))


def test_the_canary_leaves_the_sites_own_files_alone(kit):
    write(kit / "local/privacy.json", policy(scope(MECHANISM, LEDGER)))
    before = {p: p.read_bytes() for p in kit.rglob("*") if p.is_file()}
    doctor.examine(kit)
    assert {p: p.read_bytes() for p in kit.rglob("*") if p.is_file()} == before


def test_statistics_that_noise_of_one_scale_does_not_reach_are_named(kit):
    published = {"path": f"{PATH}PercentileGaussian", "args": {"sigma0": 1}}
    write(kit / "local/privacy.json", policy(scope(published)))
    assert any("statistics leave almost" in w for w in said(doctor.examine(kit), "warning"))


def test_an_update_of_the_size_of_resnet18_is_tried_in_seconds(kit, monkeypatch):
    monkeypatch.undo()  # the real size
    write(kit / "local/privacy.json", policy(scope(MECHANISM, LEDGER), scope(NOISE, name="other")))
    start = time.process_time()
    checks = here(doctor.examine(kit))
    assert time.process_time() - start < 20
    assert said(checks, "failed") == []
