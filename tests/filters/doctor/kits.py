"""A startup kit and a job that the doctor examines, and how to change them."""

import json

import pytest

from medleak.filters.allowed import INSTALLED_CLIENT, SITE_CLASSES
from medleak.filters.doctor import trials

PATH = "medleak.filters.adapters."


NOISE = {"path": f"{PATH}PercentileGaussian", "args": {"sigma0": 10, "scope": "group"}}


MECHANISM = {
    "path": f"{PATH}ClippedGaussian",
    "args": {"max_grad_norm": 1.0, "noise_multiplier": 8.0},
}


LEDGER = {"path": f"{PATH}PrivacyLedger", "args": {"target_delta": 1e-5}}


GLOBAL = {"path": f"{PATH}GlobalModel", "args": {}}


SENTINEL = {"path": f"{PATH}Sentinel", "args": {}}


NOTES = {"path": f"{PATH}SentinelNotes", "args": {}}


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


def scope(*results, name: object = "default", data=(SENTINEL, WORKFLOW, GLOBAL)):
    return {
        "name": name,
        "task_data_filters": list(data),
        "task_result_filters": _noted(list(results)),
    }


def _noted(results):
    """With the sentinel's notes where they belong: before a ledger, which is last, else last."""
    if not results or NOTES in results:
        return results
    place = len(results) - results[-1]["path"].endswith("PrivacyLedger")
    return [*results[:place], NOTES, *results[place:]]


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


CONVERT = {"tasks": ["train"], "filters": [{"path": "nvflare.x.ConvertWeights"}]}


OUTSIDE = {"execution_mode": "external_process", "command": ["sh", "-c", "id"]}


STREAMER = "nvflare.app_common.logging.job_log_streamer.JobLogStreamer"


def component(path, **args):
    return client(components=[{"id": "c", "path": path, "args": args}])


def network(words):
    return client(args={"task_script_args": words})
