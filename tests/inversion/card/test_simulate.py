"""Tests of medleak.inversion.card.simulate: clients as they are described."""

from dataclasses import replace

import pytest
from tests.inversion.card.descriptions import SMALL

from medleak.custom.record import list_updates, read_manifest, read_record
from medleak.inversion.card.config import CardConfig
from medleak.inversion.card.simulate import made_up, simulate
from medleak.inversion.images.truth import find_truth, training_items


def test_clients_are_recorded_as_described_and_their_patients_differ(tmp_path):
    config = CardConfig.model_validate(
        SMALL
        | {"images": 4, "batch_size": 2, "epochs": 2, "optimizer": "adam", "lr": 0.001}
        | {"trained": 2, "accumulation_steps": 2}
    )
    made = simulate(config, tmp_path)
    assert list_updates(made.records) == [(0, "site-1"), (0, "site-2")]
    manifest = read_manifest(made.records)
    assert manifest.known_task().num_classes == 2
    info = read_record(made.records, 0, "site-1").info
    assert (info.n_images, info.batch_size, info.local_epochs, info.n_steps) == (4, 2, 2, 2)
    assert (info.optimizer, info.lr) == ("adam", 0.001)
    lists = [find_truth(made.truth, made.records, s) for s in ("site-1", "site-2")]
    patients = [{i.patient for i in training_items(p, "x")} for p in lists if p is not None]
    assert len(patients) == 2
    assert not patients[0] & patients[1]
    states = [read_record(made.records, 0, s).global_state for s in ("site-1", "site-2")]
    assert all((states[0][n] == states[1][n]).all() for n in states[0])


def test_other_images_than_phantoms_can_be_trained_on(tmp_path):
    config = CardConfig.model_validate(SMALL)

    def draw(config, root, seed, n):
        return [replace(i, patient=f"mine-{i.patient}") for i in made_up(config, root, seed, n)]

    made = simulate(config, tmp_path, draw=draw)
    lists = [find_truth(made.truth, made.records, s) for s in ("site-1", "site-2")]
    patients = [i.patient for p in lists if p is not None for i in training_items(p, "x")]
    assert len(patients) == 2
    assert all(p.startswith("mine-") for p in patients)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"task": "focal:2"}, "cannot be simulated"),
        ({"task": "dice:1"}, "have no masks"),
        ({"network": "os.system:command=true"}, "prefix"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, more, words):
    with pytest.raises(ValueError, match=words):
        simulate(CardConfig.model_validate(SMALL | more), tmp_path)


def test_masks_are_trained_on_where_the_loss_wants_them(tmp_path):
    config = CardConfig.model_validate(
        SMALL
        | {"task": "dice_cross_entropy:1", "kind": "brain_mri", "input": "32x32x1"}
        | {
            "network": "monai.networks.nets.UNet:spatial_dims=2,in_channels=1,out_channels=1,"
            "channels=4|8,strides=2|,num_res_units=1"
        }
    )
    record = read_record(simulate(config, tmp_path).records, 0, "site-1")
    assert any(value.any() for value in record.update.values())
