"""Tests of medleak.inversion.audit.health: an easy case that reads no truth."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import torchvision
from tests.inversion.audit.audits import fake, outcomes, plan_of

from medleak.custom.record import InputSpec, ModelSpec, read_record
from medleak.inversion.attacks.dlg import DLG
from medleak.inversion.attacks.registry import AttackKind
from medleak.inversion.audit import health
from medleak.inversion.audit.health import (
    Health,
    capped,
    easy_image,
    easy_record,
    judge,
    stop_late,
)
from medleak.inversion.knowledge import Knowledge
from medleak.inversion.reconstruction import Progress, Reconstruction

pytestmark = pytest.mark.slow

KEY = "fake|all, labels inferred"


def spec(size=(20, 24), channels=1):
    return InputSpec(spatial_size=size, channels=3 if channels == 3 else 1)


def found(images):
    return Reconstruction(
        images=images, labels=None, losses={}, history=torch.zeros(1), iterations=1, seconds=2.0
    )


def test_norm_layers_that_the_site_froze_are_frozen_in_the_easy_case(make_run):
    """Else an attack that cannot treat them would pass for healthy."""
    record = read_record(make_run({"site-9": 2}).records, 0, "site-9")
    still = {k: np.zeros_like(v) for k, v in record.update.items() if "running" in k}
    record = dataclasses.replace(record, update={**record.update, **still})
    easy = easy_record(record, *easy_image(record.manifest.known_input()))
    assert still
    assert not any(easy.update[name].any() for name in still)
    assert any(v.any() for k, v in easy.update.items() if k not in still)


def test_weights_that_did_not_move_stay_in_the_easy_case_unless_none_did(make_run):
    """Of a head alone a full update would be a far easier case, and the attack called healthy."""
    record = read_record(make_run({"site-9": 2}).records, 0, "site-9")
    still = {k: np.zeros_like(v) for k, v in record.update.items() if not k.startswith("fc.")}
    head = dataclasses.replace(record, update={**record.update, **still})
    image, label = easy_image(record.manifest.known_input())
    easy = easy_record(head, image, label)
    assert {k for k, v in easy.update.items() if v.any()} == {"fc.weight", "fc.bias"}
    nothing = {k: np.zeros_like(v) for k, v in record.update.items()}
    easy = easy_record(dataclasses.replace(record, update=nothing), image, label)
    assert easy.update["conv1.weight"].any()


@pytest.mark.parametrize(("size", "channels"), [((20, 24), 1), ((8, 30), 3)])
def test_the_easy_image_has_the_records_shape_and_shows_something(size, channels):
    image, label = easy_image(spec(size, channels))
    assert image.shape == (1, channels, *size)
    assert label.shape == (1,)
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    assert float(image.std()) > 0.05
    assert torch.equal(image, easy_image(spec(size, channels))[0])


def test_the_easy_update_is_one_plain_step_from_the_same_model(make_run):
    run = make_run({"site-9": 2})
    record = read_record(run.records, 0, "site-9")
    before = {k: v.copy() for k, v in record.global_state.items()}
    image, label = easy_image(record.manifest.known_input())
    easy = easy_record(record, image, label)
    assert easy.global_state is record.global_state
    assert all(np.array_equal(before[k], v) for k, v in record.global_state.items())
    assert (easy.info.n_images, easy.info.n_steps, easy.info.batch_size) == (1, 1, 1)
    assert set(easy.update) == set(record.update)
    assert float(easy.update["bn1.num_batches_tracked"]) == 1
    assert any(not np.array_equal(easy.update[k], record.update[k]) for k in easy.update)


def test_an_easy_case_of_masks_can_be_made(make_run):
    run = make_run({"site-9": 1})
    record = read_record(run.records, 0, "site-9")
    args = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2, "channels": [4, 8]}
    model = ModelSpec(path="monai.networks.nets.UNet", args={**args, "strides": [2]})
    task = record.manifest.known_task().model_copy(
        update={"criterion": "segmentation_cross_entropy"}
    )
    manifest = record.manifest.model_copy(update={"model": model, "task": task})
    network = health.build_network(model.path, model.args)
    state = {k: v.numpy() for k, v in network.state_dict().items()}
    masks = dataclasses.replace(record, manifest=manifest, global_state=state, update=state)
    easy = easy_record(masks, *easy_image(manifest.known_input()))
    assert max(np.abs(v).max() for v in easy.update.values()) > 0


def test_reached_is_clearly_nearer_than_the_prior():
    image, _ = easy_image(spec())
    prior = torch.full_like(image, 0.5)
    assert judge(3, found(image), image, prior).reached
    at_prior = judge(3, found(prior), image, prior)
    assert not at_prior.reached
    assert (at_prior.round, at_prior.seconds, at_prior.why) == (3, 2.0, "")
    assert at_prior.ssim == at_prior.ssim_prior


def test_an_attacks_time_is_bounded_by_its_own_setting_or_from_outside():
    assert capped(DLG()).seconds == health.SECONDS
    assert capped(DLG(seconds=3.0)).seconds == 3.0
    assert capped(DLG(seconds=999.0)).seconds == health.SECONDS
    told = []
    follow = stop_late(10, told.append)
    in_time = Progress(iteration=1, total=9, loss=0.0, seconds=14.0)
    follow(in_time)
    assert told == [in_time]
    with pytest.raises(health.OutOfTimeError, match="not finished within 15 s"):
        follow(Progress(iteration=2, total=9, loss=0.0, seconds=16.0))


def test_the_audit_checks_each_attack_and_knowledge_once_and_remembers(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1})
    image, _ = easy_image(InputSpec(spatial_size=(16, 16), channels=1))
    calls = []
    table = fake(lambda _: image, calls)
    plan = plan_of(run, tmp_path, knowledge=[Knowledge(), Knowledge(bn_statistics=False)])
    outcomes(plan, table, health=True)
    assert len(calls) == 4 + 2
    summary = json.loads((plan.out / "summary.json").read_text())
    assert summary["health"][KEY]["reached"]
    assert summary["health"][KEY]["ssim"] == 1.0
    assert not summary["health"][KEY]["why"]
    calls.clear()
    outcomes(dataclasses.replace(plan, seeds=[0, 1]), table, health=True)
    assert len(calls) == 4
    assert json.loads((plan.out / "summary.json").read_text())["health"][KEY]["reached"]


def test_the_easy_case_reads_no_truth(make_run, tmp_path):
    run = make_run()
    (run.root / "site-9" / "simulate_job" / "datalist.json").unlink()
    image, _ = easy_image(InputSpec(spatial_size=(16, 16), channels=1))
    knowledge = [Knowledge(labels="known")]
    calls = []
    plan = plan_of(run, tmp_path, knowledge=knowledge)
    (outcome,) = outcomes(plan, fake(lambda _: image, calls), health=True)
    assert "no truth list" in outcome.refused
    summary = json.loads((plan.out / "summary.json").read_text())
    assert summary["health"]["fake|all, labels known"]["reached"]
    assert calls[0][0].labels.tolist() == easy_image(spec())[1].tolist()


def test_an_attack_that_cannot_start_is_not_in_working_order_and_is_tried_again(make_run, tmp_path):
    run = make_run()
    plan = plan_of(run, tmp_path)

    def refuse(observation):
        raise ValueError("needs what is withheld")

    outcomes(plan, fake(lambda _: torch.zeros(1, 1, 16, 16), fail=refuse), health=True)
    entry = json.loads((plan.out / "summary.json").read_text())["health"][KEY]
    assert (entry["reached"], entry["why"]) == (False, "needs what is withheld")
    image, _ = easy_image(InputSpec(spatial_size=(16, 16), channels=1))
    outcomes(plan, fake(lambda _: image), health=True)
    entry = json.loads((plan.out / "summary.json").read_text())["health"][KEY]
    assert entry["reached"]


def test_a_slow_attack_is_stopped_and_not_tried_again(make_run, tmp_path):
    run = make_run()
    calls = []

    @dataclasses.dataclass(frozen=True)
    class Slow:
        steps: int = 1

    def slow(attack, observation, prior, *, generator, on_progress=None):
        calls.append(1)
        if on_progress is not None:
            on_progress(Progress(iteration=1, total=1, loss=0.0, seconds=1e6))
        return found(torch.zeros(1, 1, 16, 16))

    table = {"fake": lambda: AttackKind(Slow, slow)}
    plan = plan_of(run, tmp_path)
    outcomes(plan, table, health=True)
    entry = json.loads((plan.out / "health.json").read_text())[KEY]
    assert (entry["reached"], entry["why"]) == (False, "not finished within 180 s")
    outcomes(dataclasses.replace(plan, seeds=[0, 1]), table, health=True)
    assert len(calls) == 3


def test_a_damaged_cache_is_refused(make_run, tmp_path):
    run = make_run()
    plan = plan_of(run, tmp_path)
    table = fake(lambda _: torch.zeros(1, 1, 16, 16))
    outcomes(plan, table)
    (plan.out / "health.json").write_text("{")
    with pytest.raises(ValueError, match=r"health\.json is damaged"):
        outcomes(plan, table)
    assert Health(reached=False, round=0, why="no").final is False


def test_a_damaged_update_does_not_stand_in_the_way_of_the_easy_case(make_run, tmp_path):
    run = make_run({"site-1": 1, "site-2": 1})
    (run.records / "round_0000" / "site-1.safetensors").write_bytes(b"")
    image, _ = easy_image(InputSpec(spatial_size=(16, 16), channels=1))
    plan = plan_of(run, tmp_path)
    found = outcomes(plan, fake(lambda _: image), health=True)
    assert [bool(o.refused) for o in found] == [True, False]
    assert json.loads((plan.out / "health.json").read_text())[KEY]["reached"]


def test_an_easy_case_that_shares_a_wrong_declaration_is_not_reached(make_run, tmp_path):
    """The record says that images were normalised, and its statistics say that they were not."""
    model = ModelSpec(path="torchvision.models.resnet18", args={"num_classes": 2})
    network = torchvision.models.resnet18(num_classes=2)
    run = make_run({"site-9": 2}, size=64, model=model, network=network)
    manifest = json.loads((run.records / "manifest.json").read_text())
    manifest["input"] |= {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    (run.records / "manifest.json").write_text(json.dumps(manifest))
    image, _ = easy_image(InputSpec(spatial_size=(64, 64), channels=1))
    plan = plan_of(run, tmp_path)
    outcomes(plan, fake(lambda _: image), health=True)
    summary = json.loads((plan.out / "summary.json").read_text())
    entry = summary["health"][KEY]
    assert entry["ssim"] == 1.0
    assert not entry["reached"]
    assert "as the attack takes them to be" in entry["contradiction"]
    assert Health(**entry).final
    assert "the easy case shares an error of the declaration" in summary["sites"][0]["verdict"]


def test_the_losses_of_the_easy_case_are_kept(make_run, tmp_path):
    run = make_run({"site-9": 1})
    image, _ = easy_image(InputSpec(spatial_size=(16, 16), channels=1))
    plan = plan_of(run, tmp_path)
    outcomes(plan, fake(lambda _: image), health=True)
    kept = json.loads((plan.out / "health.json").read_text())[KEY]
    assert kept["losses"] == {"bn": 0.002, "span": 1e-7}
    assert kept["contradiction"] == ""
