"""Canaries on their whole way: planted by a site's client, recorded, guessed, beside its ε."""

import json
import stat
from typing import Any

import numpy as np
import pytest
from nvflare.app_common.abstract.fl_model import FLModel
from tests.inversion.cli.commands import medleak, refused

from medleak.custom.data.datalist import DataError
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    list_updates,
    read_info,
    read_manifest,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.custom.record.declared import declared_info
from medleak.custom.sites import canaries
from medleak.custom.training import client, dp_sgd
from medleak.custom.training.arguments import parse
from medleak.custom.training.initial import build_job_network, format_args
from medleak.filters.noise import add_gaussian
from medleak.inversion.report.attack_classes.canaries import lines
from medleak.inversion.report.reading import read_audit
from medleak.inversion.results.files import write_json

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("allowed", "repeatable_noise")]

NETWORK = "medleak.custom.small_networks.strided_cnn"
MODEL = {"num_classes": 2, "spatial_size": 16, "hidden": 32}
# One round at noise multiplier 1, all records in every step: the plain Gaussian mechanism.
DP_SGD = "--noise_multiplier 0.7 --max_grad_norm 1 --sample_rate 1"


@pytest.fixture
def allowed(monkeypatch):
    monkeypatch.setenv(canaries.VARIABLE, "allow")
    monkeypatch.setattr(client, "_track", lambda *args: None)


def run(root, options, rounds=1, size=16):
    """Let one site train, and record what leaves; the folders are a simulator's."""
    folder = root / "site-1" / "simulate_job"
    line = f"--classes normal pneumonia --spatial_size {size} {size} --lr 0.1 --table site-1:4:8:4 "
    line += f"--scale 1 --run_dir {folder} --model_path {NETWORK} --model_args "
    arguments = [*line.split(), *format_args(MODEL).split(), *options.split()]
    records = root / "server" / "simulate_job" / "records"
    write_manifest(
        records,
        Manifest(
            job=root.name,  # two runs of one job within a second are one by their manifests
            created=utc_now(),
            model=ModelSpec(path=NETWORK, args=MODEL),
            task=TaskSpec(num_classes=2),
            input=InputSpec(spatial_size=(size, size), channels=1, mean=(0.0,) * 3, std=(1.0,) * 3),
        ),
    )
    state = {k: v.numpy() for k, v in build_job_network(NETWORK, MODEL).state_dict().items()}
    for round in range(rounds):
        site = client.LocalTrainer(parse(arguments), "site-1")  # a new process each round
        sent = {k: v.copy() for k, v in state.items()}
        result = site.train(FLModel(params=sent, current_round=round, total_rounds=rounds))
        meta, params = result.meta or {}, result.params or {}
        declared = [{"name": "dp_sgd", "args": meta["dp_sgd"]}] if "dp_sgd" in meta else []
        info, unusable = declared_info(round, "site-1", meta["hp"], defences=declared)
        assert not unusable
        update = {k: np.asarray(v) - state[k] for k, v in params.items()}
        write_record(records, info, state, update)
        state = {k: np.asarray(v) for k, v in params.items()}
    return records


def audited(root, *more) -> tuple[int, dict[str, Any]]:
    result = medleak("dp-audit", root, "--json", *more)
    assert result.stdout, result.stderr
    return result.exit_code, json.loads(result.stdout)[0]


@pytest.mark.parametrize("plan", ["gradients:count=300", "images:count=60"])
def test_an_honest_mechanism_is_not_refuted_and_its_claim_stands_beside(tmp_path, plan):
    run(tmp_path, f"{DP_SGD} --canaries {plan}", rounds=2)
    _, found = audited(tmp_path)
    assert found["kind"] in ("not refuted", "out of reach"), found
    assert found["claimed"] == pytest.approx(9.0, abs=3.0)
    assert found["bound"] < found["claimed"]
    assert found["claimed_by"] == "what the site declared in the record"
    assert found["rounds"] == [0, 1]


@pytest.mark.parametrize("plan", ["gradients:count=300", "images:count=60"])
def test_noise_that_is_missing_is_found_by_guessing(tmp_path, plan, monkeypatch):
    def little(value, scale, source):
        return add_gaussian(value, scale / 1000, source)

    monkeypatch.setattr(dp_sgd, "add_gaussian", little)
    run(tmp_path, f"{DP_SGD} --canaries {plan}".replace("0.7", "4"))
    code, found = audited(tmp_path)
    assert (code, found["kind"]) == (1, "refuted"), found


def test_a_clip_that_is_skipped_is_found(tmp_path, monkeypatch):
    clip = dp_sgd._Optimizer.clip_and_accumulate

    def skipped(self):
        kept, self.max_grad_norm = self.max_grad_norm, 1e6
        clip(self)
        self.max_grad_norm = kept

    monkeypatch.setattr(dp_sgd._Optimizer, "clip_and_accumulate", skipped)
    run(tmp_path, f"{DP_SGD} --canaries gradients:count=300".replace("0.7", "2"))
    code, found = audited(tmp_path)
    assert (code, found["kind"]) == (1, "refuted"), found


def test_a_heuristic_claims_nothing_and_all_canaries_of_bare_training_are_told(tmp_path):
    run(tmp_path, "--canaries gradients:count=100")
    code, found = audited(tmp_path)
    assert (code, found["kind"], found["claimed"]) == (3, "no claim", None)
    # As many are guessed in as out, and the coins fell as they did.
    assert found["guessed"] == 100
    assert found["bound"] > 1.5


def test_no_site_plants_anything_unless_its_operator_allowed_it(tmp_path, monkeypatch):
    monkeypatch.delenv(canaries.VARIABLE)
    with pytest.raises(DataError, match="operator has not allowed any"):
        run(tmp_path, "--canaries gradients:count=10")
    assert not list(tmp_path.rglob(canaries.FILE))


def test_canaries_are_loud_marked_and_their_list_is_the_sites_alone(tmp_path, caplog):
    records = run(tmp_path, f"{DP_SGD} --canaries gradients:count=40", rounds=2)
    assert caplog.text.count("CANARIES are planted") == 2
    (place,) = tmp_path.rglob(canaries.FILE)
    assert place.parent == tmp_path / "site-1" / "simulate_job"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    listed = canaries.load(place)
    for round, site in list_updates(records):
        mark = read_info(records, round, site).canaries
        assert mark is not None
        assert (mark.kind, mark.count) == ("gradients", 40)
    content = b"".join(path.read_bytes() for path in records.rglob("*.json"))
    assert all(c.tensor.encode() not in content for c in listed.canaries)
    assert "canaries (gradients" in medleak("records", "ls", tmp_path).stdout


def test_what_a_site_declares_does_not_depend_on_the_coins(tmp_path):
    plain = run(tmp_path / "a", "")
    marked = run(tmp_path / "b", "--canaries images:count=30")
    one, other = (read_info(records, 0, "site-1") for records in (plain, marked))
    assert one.model_copy(update={"time": "", "sha256": None}) == other.model_copy(
        update={"time": "", "sha256": None, "canaries": None}
    )


def test_two_runs_with_one_seed_have_other_canaries(tmp_path):
    lists = []
    for name in "ab":
        run(tmp_path / name, "--canaries gradients:count=40")
        lists.append(canaries.load(next((tmp_path / name).rglob(canaries.FILE))))
    first, second = ({(c.tensor, c.index) for c in listed.canaries} for listed in lists)
    assert len(first & second) < 5
    assert (lists[0].planted != lists[1].planted).any()


def test_a_run_without_marks_and_a_list_of_another_run_are_not_known(tmp_path):
    run(tmp_path / "none", "")
    result = medleak("dp-audit", tmp_path / "none")
    assert "No update" in refused(result, 3)
    run(tmp_path / "a", "--canaries gradients:count=20")
    run(tmp_path / "b", "--canaries gradients:count=30")
    other = next((tmp_path / "b").rglob(canaries.FILE))
    assert "two runs" in refused(medleak("dp-audit", tmp_path / "a", "--canaries", other), 2)
    other.unlink()
    assert "stays at the site" in refused(medleak("dp-audit", tmp_path / "b"), 2)


def test_what_canaries_say_reaches_the_report_of_the_runs_audit_and_of_no_other(tmp_path):
    out = tmp_path / "audit"
    records = run(tmp_path, f"{DP_SGD} --canaries gradients:count=40")
    write_json(out / "config.json", config_of(records))
    write_json(out / "summary.json", {"format_version": 2, "sites": [], "refused": []})
    code, found = audited(tmp_path, "--out", out)
    (line,) = lines(read_audit(out))
    assert line.status == ("not refuted" if code == 0 else "not known")
    assert line.bound == found["bound"]
    assert line.claimed.startswith(f"ε = {found['claimed']:.4g} at δ = 1e-05 by what the site")
    next(tmp_path.rglob(canaries.FILE)).unlink()
    assert "stays at the site" in refused(medleak("dp-audit", tmp_path, "--out", out), 2)
    (line,) = lines(read_audit(out))
    assert line.status == "not tested"
    assert "stays at the site" in line.words
    other = run(tmp_path / "other", "")
    result = medleak("dp-audit", tmp_path / "other", "--out", out)
    assert "audit of another run" in refused(result, 2)
    result = medleak("dp-audit", tmp_path / "other", "--out", tmp_path / "b")
    assert "ε was not put to the test" in refused(result, 3)
    write_json(tmp_path / "b" / "config.json", config_of(other))
    write_json(tmp_path / "b" / "summary.json", {"format_version": 2, "sites": [], "refused": []})
    assert lines(read_audit(tmp_path / "b")) == []  # an audit about no site


def config_of(records):
    return {"record": read_manifest(records).identity(), "updates": {}}


def test_only_a_run_has_an_audit_to_write_beside(tmp_path):
    counts = "canaries:planted=1000,guessed=500,right=350"
    assert "--out are of a RUN" in refused(medleak("dp-audit", counts, "--out", tmp_path), 2)
