"""Tests of ``medleak policy`` and ``medleak doctor`` as commands."""

import json
import os
import pty
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from medleak.inversion.cli import app

BOUNDED = ("--epsilon", "8", "--rounds", "30")


def medleak(*args, answers=None):
    words = [str(a) for a in args]
    return CliRunner().invoke(app, words, input=answers, env={"COLUMNS": "200"})


@pytest.fixture
def kit(tmp_path):
    root = tmp_path / "site-1"
    for name in ("startup", "local"):
        (root / name).mkdir(parents=True)
    return root


def test_a_site_is_written_and_passes(kit):
    done = medleak("policy", kit, *BOUNDED, "--yes")
    assert done.exit_code == 0, done.output
    assert "+++ local/privacy.json" in done.output
    checks = json.loads(medleak("doctor", kit, "--json").stdout)
    assert {c["status"] for c in checks if c["name"] != "installation"} == {"ok"}


def test_a_site_that_shall_be_audited_discloses_its_schedule_and_says_so(kit):
    assert medleak("policy", kit, *BOUNDED, "--disclose-schedule", "--yes").exit_code == 0
    (scope,) = json.loads((kit / "local/privacy.json").read_text())["scopes"]
    (mechanism,) = [
        f["args"] for f in scope["task_result_filters"] if f["path"].endswith("ClippedGaussian")
    ]
    assert mechanism["disclose"] == ["schedule"]
    refused = medleak("policy", kit, "--heuristic", "--disclose-schedule", "--yes")
    assert refused.exit_code != 0
    assert "promises no ε" in refused.stderr


@pytest.mark.parametrize("choice", ["refuse_run", "warn", "off", None])
def test_the_sentinel_does_what_was_chosen(choice, kit):
    asked = () if choice is None else ("--sentinel", choice)
    assert medleak("policy", kit, "--heuristic", "--yes", *asked).exit_code == 0
    (scope,) = json.loads((kit / "local/privacy.json").read_text())["scopes"]
    first = scope["task_data_filters"][0]
    if choice == "off":
        assert "Sentinel" not in json.dumps(scope)
    else:
        assert first["path"].endswith(".Sentinel")
        assert first["args"]["on_alarm"] == (choice or "refuse_round")
        assert scope["task_result_filters"][-1]["path"].endswith("SentinelNotes")
    refused = medleak("policy", kit, "--heuristic", "--yes", "--sentinel", "maybe")
    assert (refused.exit_code, "--sentinel is" in refused.stderr) == (2, True)


def test_without_a_yes_nothing_is_written(kit):
    done = medleak("policy", "--site-dir", kit, "--heuristic", answers="n\n")
    assert done.exit_code == 1
    assert not list((kit / "local").iterdir())
    assert medleak("policy", "--site-dir", kit, "--heuristic", answers="y\n").exit_code == 0
    assert (kit / "local/privacy.json").exists()


@pytest.mark.parametrize(
    ("answers", "epsilon"),
    [(["y", "4", "10", "2", "y"], 4.0), (["y", "", "", "", "y"], 8.0), (["n", "y"], None)],
)
def test_a_person_is_asked_what_the_options_do_not_say(answers, epsilon, kit):
    said, code = at_a_terminal(["policy", str(kit)], answers)
    assert code == 0, said
    (scope,) = json.loads((kit / "local/privacy.json").read_text())["scopes"]
    used = {f["path"].rpartition(".")[2]: f["args"] for f in scope["task_result_filters"]}
    assert used["PrivacyLedger"].get("target_epsilon") == epsilon
    if epsilon is None:
        assert {"Withhold", "PercentileGaussian"} <= set(used)
    else:
        assert used["ClippedGaussian"]["max_grad_norm"] == (2.0 if epsilon == 4 else 1.0)


def test_a_person_who_says_no_leaves_the_kit_as_it_was(kit):
    said, code = at_a_terminal(["policy", str(kit)], ["n", "n"])
    assert (code, "Write this?" in said) == (1, True), said
    assert not list((kit / "local").iterdir())


def at_a_terminal(words, answers):
    """Output and exit code of ``medleak`` with a terminal for its input, in a process of its own.

    Answers wait in the terminal's buffer, which takes lines before they are asked for.
    """
    ours, theirs = pty.openpty()
    try:
        os.write(ours, "".join(f"{a}\n" for a in answers).encode())
        done = subprocess.run(
            [sys.executable, "-c", "from medleak.inversion import cli; cli.main()", *words],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return done.stdout + done.stderr, done.returncode


def test_a_policy_that_protects_nothing_is_not_written(kit):
    weak = ("--defence", "percentile_gaussian:sigma0=1e-9")
    done = medleak("policy", kit, *weak, "--yes")
    assert done.exit_code == 1
    assert "Nothing was written" in done.stderr
    assert not list((kit / "local").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Say what to protect by"),
        (("--epsilon", "8"), "give both"),
        (("--rounds", "8", "--heuristic"), "give --epsilon too"),
        (("--clip", "2", "--heuristic"), "--clip bounds updates"),
        (("--clip", "2", "--defence", "percentile_gaussian:sigma0=10"), "--clip bounds updates"),
        ((*BOUNDED, "--heuristic"), "different policies"),
        (("--defence", "no_such"), "Unknown defence"),
        (("--epsilon", "-1", "--rounds", "3"), "epsilon"),
    ],
)
def test_what_does_not_go_together_is_one_line(words, message, kit):
    done = medleak("policy", kit, *words, "--yes")
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert message in line


def test_the_exit_code_tells_protected_unprotected_and_not_known_apart(kit, monkeypatch, tmp_path):
    monkeypatch.setattr("medleak.filters.doctor.installation", lambda kit: [])
    assert medleak("policy", kit, *BOUNDED, "--yes").exit_code == 0
    assert medleak("doctor", kit).exit_code == 0
    job = tmp_path / "job"
    (job / "app/config").mkdir(parents=True)
    (job / "meta.json").write_text('{"name": "job"}')
    (job / "app/config/config_fed_client.json").write_text("{")
    done = medleak("doctor", kit, "--job", job)
    assert done.exit_code == 3
    assert "not known is not safe" in done.output
    (kit / "local/privacy.json").unlink()
    assert medleak("doctor", kit, "--job", job).exit_code == 1


def server_of(kit):
    (kit / "startup/fed_server.json").write_text("{}")
    (kit / "local/authorization.json").write_text('{"permissions": {"lead": {"view": "any"}}}')
    return kit


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--network", "mylab."), "MEDLEAK_NETWORKS"),
        (("--sentinel", "warn"), "--sentinel is of a site's filters"),
        (("--disclose-schedule",), "--disclose-schedule is of a site's filters"),
    ],
)
def test_what_a_server_has_no_place_for_is_refused_there(option, message, kit):
    done = medleak("policy", server_of(kit), "--heuristic", "--yes", *option)
    assert (done.exit_code, message in done.stderr) == (2, True), done.output
    assert not (kit / "local/resources.json").exists()


def test_a_server_is_written_and_never_called_protected(kit, monkeypatch):
    monkeypatch.setattr("medleak.filters.doctor.installation", lambda kit: [])
    done = medleak("policy", server_of(kit), "--heuristic", "--yes")
    assert done.exit_code == 0, done.output
    assert "medleak doctor" not in done.output
    assert "It protects no update" in done.output
    assert not (kit / "local/privacy.json").exists()
    examined = medleak("doctor", kit)
    assert examined.exit_code == 3, examined.output
    assert "this is the server's kit" in examined.output


def test_the_command_for_later_can_be_typed_as_it_is(kit):
    spaced = kit.rename(kit.parent / "site 1")
    done = medleak("policy", spaced, "--heuristic", "--yes")
    assert done.exit_code == 0, done.output
    assert f"medleak doctor '{spaced}'" in done.output
