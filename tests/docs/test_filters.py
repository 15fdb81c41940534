"""The files that docs/deploy.md tells an operator to copy do what it says."""

import json
import re

import pytest
from tests.places import ROOT

from medleak.filters import doctor
from medleak.filters import policy as policies
from medleak.filters.adapters import PrivacyBudget
from medleak.filters.adapters.ledger import planned_guarantee
from medleak.filters.registry import DEFENCES, defence

DOCS = ROOT / "docs"


@pytest.mark.parametrize("policy", ["privacy.json", "privacy_heuristic.json"])
def test_the_doctor_finds_nothing_wrong_with_the_example_policies(policy, tmp_path):
    (tmp_path / "startup").mkdir()
    (tmp_path / "local").mkdir()
    for source, target in (
        (policy, "privacy.json"),
        ("authorization.json", "authorization.json"),
        ("resources.json", "resources.json"),
    ):
        content = (DOCS / "deploy" / source).read_text(encoding="utf-8")
        (tmp_path / "local" / target).write_text(content, encoding="utf-8")
    checks = [c for c in doctor.examine(tmp_path) if c.name != "installation"]
    assert {c.status for c in checks} == {"ok"}, checks


def test_the_example_policies_are_what_the_command_writes():
    page = (DOCS / "deploy.md").read_text(encoding="utf-8")
    (options,) = re.findall(r"--epsilon (\S+) --rounds (\S+) --clip (\S+)", page)
    epsilon, rounds, clip = map(float, options)
    bounded = policies.clipped(target_epsilon=epsilon, rounds=int(rounds), max_grad_norm=clip)
    heuristic = policies.Choice(defence=policies.HEURISTIC)
    for name, choice in (("privacy.json", bounded), ("privacy_heuristic.json", heuristic)):
        written = json.loads((DOCS / "deploy" / name).read_text(encoding="utf-8"))
        assert written == policies.privacy(choice)


def test_the_example_rules_are_what_the_command_writes():
    read = {
        name: json.loads((DOCS / "deploy" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("resources", "authorization")
    }
    assert read["resources"] | {"components": []} == policies.resources({})
    assert read["authorization"] == policies.authorization(read["authorization"])


def test_the_example_budget_plans_what_its_filter_does():
    policy = json.loads((DOCS / "deploy/privacy.json").read_text(encoding="utf-8"))
    (scope,) = policy["scopes"]
    (planned,) = (f for f in scope["task_data_filters"] if f["path"].endswith("PrivacyBudget"))
    budget = PrivacyBudget(**planned["args"])
    args = {**scope["task_result_filters"][0]["args"]}
    args.pop("tasks")
    spec = "clipped_gaussian:" + ",".join(f"{k}={v}" for k, v in args.items())
    assert planned_guarantee(budget.planned) == planned_guarantee(spec)


def test_every_defence_is_in_the_table_by_its_name():
    text = (DOCS / "filters.md").read_text(encoding="utf-8")
    missing = [name for name in DEFENCES if f"`{name}`" not in text]
    assert not missing


def test_every_defence_written_in_the_documents_can_be_built():
    for page in ("filters.md", "deploy.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        names = "|".join(DEFENCES)
        for spec in re.findall(rf"[`\"]((?:{names})[+:][^`\"…]*)[`\"]", text):
            assert defence(spec)


def test_every_test_that_the_threat_model_names_is_there():
    text = (DOCS / "threat-model.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^- (T\d+): `([^`]+)`$", text, re.MULTILINE))
    assert [p for p in named.values() if not (ROOT / p).is_file()] == []
    used = set(re.findall(r"\bT\d+\b", text.partition("## The tests")[0]))
    assert used == set(named)
    rows = text.partition("## Ways out")[2].partition("## What a check")[0].splitlines()
    ways = [r for r in rows if r.startswith("| ") and not r.startswith("| way")]
    assert ways
    assert [r for r in ways if not re.search(r"\| (T\d+(, )?)+ \|$", r)] == []


@pytest.mark.parametrize("page", ["deploy.md", "threat-model.md"])
def test_lines_are_not_longer_than_a_screen(page):
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    assert [n for n, line in enumerate(lines, 1) if len(line) > 120] == []
