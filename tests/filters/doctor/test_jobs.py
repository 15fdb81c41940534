"""Tests of what is said of a job."""

import json
import shutil

import pytest
from tests.filters.doctor.kits import (
    ARGUMENTS,
    CLIENT_API,
    CONVERT,
    NOISE,
    OUTSIDE,
    PATH,
    STREAMER,
    client,
    component,
    here,
    network,
    said,
    script,
    write,
)

from medleak.filters import doctor

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
    "PercentileGaussian beside FlowerExecutor, whose updates never come by a filter": (
        "failed",
        client(
            executor="nvflare.app_opt.flower.executor.FlowerExecutor",
            args={},
            results=[{"tasks": ["train"], "filters": [NOISE]}],
        ),
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
    assert any("sends FULL weights" in c for c in said(checks, "warning"))
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
