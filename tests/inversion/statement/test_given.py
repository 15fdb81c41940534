"""Tests of what an auditor says of a record."""

import json

import numpy as np
import pytest
import torch

from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    TaskSpec,
    UnknownError,
    UpdateInfo,
    read_manifest,
    utc_now,
    write_manifest,
    write_record,
)
from medleak.custom.record.texts import input_of
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.observation import observe
from medleak.inversion.statement import Given, contradictions, told

SILENT = Manifest(job="j", created="2026-01-01T00:00:00+00:00")


def test_what_is_given_goes_before_what_is_declared_and_says_so():
    declared = InputSpec(spatial_size=(8, 8), channels=1, mean=(0.1,), std=(0.2,))
    manifest = SILENT.model_copy(update={"input": declared, "sources": {"input": "declared"}})
    found = Given(mean=(0.5,), task=TaskSpec(num_classes=3)).of_manifest(manifest)
    assert found.known_input() == declared.model_copy(update={"mean": (0.5,)})
    assert found.sources == {"model": "unknown", "task": "given", "input": "given"}
    larger = Given(input=input_of("16x16x1")).of_manifest(manifest).known_input()
    assert (larger.spatial_size, larger.mean, larger.std) == ((16, 16), (0.1,), (0.2,))
    assert Given().of_manifest(manifest) is manifest


def test_one_value_of_the_normalisation_is_that_of_all_channels():
    declared = InputSpec(spatial_size=(8, 8), channels=1, mean=(0.1,) * 3, std=(0.2,) * 3)
    manifest = SILENT.model_copy(update={"input": declared, "sources": {"input": "declared"}})
    found = Given(mean=(0.5,)).of_manifest(manifest).known_input()
    assert (found.mean, found.std) == ((0.5,) * 3, (0.2,) * 3)
    found = Given(mean=(0.1, 0.2, 0.3), std=(0.4,)).of_manifest(manifest).known_input()
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4,) * 3)
    found = Given(input=input_of("8x8x3"), mean=(0.5,)).of_manifest(SILENT).known_input()
    assert (found.mean, found.std) == ((0.5,) * 3, None)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="--input, --mean and --std"):
        Given(input=input_of("8x8x3"), mean=(0.1, 0.2)).of_manifest(SILENT)
    with pytest.raises(UnknownError, match="size of an image"):
        Given(mean=(0.1,)).of_manifest(SILENT)


def test_a_record_is_read_with_what_is_given(make_run):
    run = make_run({"site-9": 2})
    given = Given(schedule={"lr": 0.5}, model=ModelSpec(path="a.b"))
    found = given.record(run.records, 0, "site-9")
    assert found.info.lr == given.info(run.records, 0, "site-9").lr == 0.5
    assert found.info.sources["lr"] == "given"
    assert found.info.sources["n_images"] == "declared"
    assert found.manifest.known_model().path == "a.b"
    assert given.manifest(run.records).sources["model"] == "given"
    assert json.loads(read_manifest(run.records).model_dump_json())["model"]["path"] != "a.b"


def test_weights_that_sites_do_not_send_come_from_a_file_and_did_not_move(tmp_path):
    conv, linear = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2)
    network = torch.nn.Sequential(conv, torch.nn.Flatten(), linear)
    state = {k: v.detach() for k, v in network.state_dict().items()}
    head = {k: v for k, v in state.items() if k.startswith("2.")}
    manifest = SILENT.model_copy(update={"input": input_of("3x3x3")})
    write_manifest(tmp_path, manifest)
    info = UpdateInfo(round=0, site="a", time=utc_now(), n_images=1, lr=0.1)
    write_record(tmp_path, info, head, {k: v + 1 for k, v in head.items()})
    with pytest.raises(ValueError, match=r"2 of the network's 4 tensors.*--base FILE"):
        observe(Given().record(tmp_path, 0, "a"), Knowledge(), network=network)
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "base.pt")
    given = Given(base=tmp_path / "base.pt")
    seen = observe(given.record(tmp_path, 0, "a"), Knowledge(), network=network)
    assert torch.equal(seen.network().state_dict()["0.weight"], state["0.weight"])
    assert not seen.parameter_update["0.weight"].any()
    torch.testing.assert_close(seen.parameter_update["2.bias"], state["2.bias"] + 1)
    assert told(tmp_path, given, [(0, "a")])["run"]["base"]["value"]["file"] == "base.pt"


def test_weights_that_did_not_come_are_named_unless_the_auditor_vouches(make_run, tmp_path):
    """FedBN: norm layers stay at the site, trained; the server's values are all it has of them."""
    run = make_run({"site-9": 1})
    whole = Given().record(run.records, 0, "site-9")
    assert whole.unsent == ()
    norms = [n for n in whole.update if n.startswith("bn1.")]
    sent = {n: v for n, v in whole.update.items() if n not in norms}
    root = tmp_path / "fedbn"
    write_manifest(root, whole.manifest)
    write_record(root, whole.info, whole.global_state, sent)
    found = Given().record(root, 0, "site-9")
    assert set(found.unsent) == {"bn1.weight", "bn1.bias"}
    assert not found.update["bn1.weight"].any()
    assert "bn1.running_mean" not in found.update  # no statistics of zero change are made up
    assert any("2 of the model's weights were not sent" in why for why in contradictions(found))
    assert observe(found, Knowledge()).parameter_update["bn1.weight"].shape == (8,)
    own = {n: torch.as_tensor(whole.global_state[n]) + 1 for n in norms}
    torch.save(own, tmp_path / "own.pt")
    vouched = Given(base=tmp_path / "own.pt").record(root, 0, "site-9")
    assert vouched.unsent == ()
    assert not contradictions(vouched)
    np.testing.assert_array_equal(vouched.global_state["bn1.weight"], own["bn1.weight"].numpy())
    assert "bn1.running_mean" not in vouched.update
