"""Tests of medleak.inversion.reproduce.recognition."""

import dataclasses

import pytest
import torch
from tests.inversion.rows import ROW as A_ROW
from torch import nn

from medleak.custom.intervals import wilson
from medleak.inversion.images.pictures import save_png, to_picture
from medleak.inversion.reproduce.recognition import ORIGINAL, audit_accuracy, recognised
from medleak.inversion.results.rows import write_rows


class Bright(nn.Module):
    """Class 1 where the mean is above 0."""

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


def flat(value):
    return torch.full((1, 8, 8), value)


def test_a_class_is_recognised_in_model_units():
    images, labels = torch.stack([flat(0.2), flat(0.8), flat(0.8)]), torch.tensor([0, 1, 0])
    half = (0.5, 0.5, 0.5)
    assert recognised(Bright(), images, labels, mean=half).tolist() == [True, True, False]
    assert recognised(Bright(), images, labels).tolist() == [False, True, False]


def test_the_networks_mode_is_put_back_and_evaluation_mode_is_used():
    network = nn.Sequential(nn.BatchNorm2d(3), Bright())
    network.train()
    recognised(network, torch.rand(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64))
    assert network.training
    assert int(network.get_buffer("0.num_batches_tracked")) == 0


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 images and 1 labels"):
        recognised(Bright(), torch.rand(2, 1, 8, 8), torch.tensor([0]))
    with pytest.raises(ValueError, match="has 2 classes and a label is 4"):
        recognised(Bright(), torch.rand(1, 1, 8, 8), torch.tensor([4]))


ROW = dataclasses.replace(A_ROW, attack="cpl", picture="")


@pytest.fixture
def directory(tmp_path):
    """Four images of two classes: recovered well, under noise, and under noise again."""
    truths, labels = [0.2, 0.3, 0.8, 0.9], [0, 0, 1, 1]
    guesses = {("none", 0): truths, ("noise", 0): [0.2] * 4, ("noise", 1): [0.8, 0.2, 0.2, 0.2]}
    rows = []
    for (how, seed), values in guesses.items():
        for k, value in enumerate(values):
            names = {"picture": f"{how}{seed}_{k}.png", "truth_picture": f"truth_{k}.png"}
            save_png(tmp_path / names["picture"], to_picture(flat(value)))
            save_png(tmp_path / names["truth_picture"], to_picture(flat(truths[k])))
            rows.append(
                dataclasses.replace(
                    ROW, defence=how, seed=seed, reconstruction=k, truth_label=labels[k], **names
                )
            )
    write_rows(tmp_path / "results.csv", rows)
    return tmp_path


def test_table_v_counts_each_original_once_and_each_image_by_its_runs(directory):
    found = audit_accuracy(directory, Bright(), mean=(0.5, 0.5, 0.5))
    assert list(found) == [ORIGINAL, "cpl | none | all", "cpl | noise | all"]
    assert [a.share for a in found.values()] == pytest.approx([1.0, 1.0, 3 / 8])
    assert [a.n for a in found.values()] == [4, 4, 4]
    noise = found["cpl | noise | all"]
    assert (noise.lower95, noise.upper95) == pytest.approx(wilson(3 / 8, 4))


def test_one_image_has_no_interval(directory):
    save_png(directory / "one.png", to_picture(flat(0.9)))
    row = dataclasses.replace(ROW, picture="one.png", truth_picture="one.png", truth_label=1)
    write_rows(directory / "results.csv", [row])
    found = audit_accuracy(directory, Bright(), mean=(0.5, 0.5, 0.5))[ORIGINAL]
    assert (found.share, found.lower95, found.upper95, found.n) == (1.0, None, None, 1)


def test_an_audit_without_truth_has_no_accuracy(tmp_path):
    write_rows(tmp_path / "results.csv", [ROW])
    with pytest.raises(ValueError, match="no row with a truth"):
        audit_accuracy(tmp_path, Bright())
