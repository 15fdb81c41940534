"""Tests of medleak.custom.training.scores, against scikit-learn."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, recall_score, roc_auc_score

from medleak.custom.training.scores import report, scores


def problem(classes, n=90, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    signal = torch.nn.functional.one_hot(labels, classes)
    return torch.randn(n, classes, generator=generator) + signal, labels


@pytest.mark.parametrize("classes", [2, 4])
def test_every_score_is_scikit_learns(classes):
    logits, labels = problem(classes)
    predicted, probabilities = logits.argmax(1), logits.double().softmax(1).numpy()
    found = scores(logits, labels)
    average = "binary" if classes == 2 else "macro"
    shown = probabilities[:, 1] if classes == 2 else probabilities
    assert found["auc"] == pytest.approx(roc_auc_score(labels, shown, multi_class="ovr"))
    assert found["sensitivity"] == pytest.approx(recall_score(labels, predicted, average=average))
    one_against_rest = [
        recall_score(labels != k, predicted != k) for k in ([1] if classes == 2 else range(classes))
    ]
    assert found["specificity"] == pytest.approx(np.mean(one_against_rest))
    table = report(logits, labels, [str(k) for k in range(classes)])["confusion"]
    assert table == confusion_matrix(labels, predicted).tolist()
    assert found["accuracy"] == pytest.approx(np.trace(table) / len(labels))


def test_tied_outputs_count_half_in_the_auc():
    logits = torch.zeros(10, 2)
    labels = torch.arange(10) % 2
    assert scores(logits, labels)["auc"] == pytest.approx(0.5)


def test_what_one_class_alone_cannot_show_is_left_out():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    labels = torch.zeros(2, dtype=torch.int64)
    assert set(scores(logits, labels)) == {"accuracy", "loss"}
    found = report(logits, labels, ["a", "b"])
    assert found["auc"] is found["sensitivity"] is found["specificity"] is None
    assert found["accuracy"]["value"] == 0.5


@pytest.mark.parametrize("classes", [2, 4])
def test_a_report_holds_its_values_inside_their_intervals_and_is_json(classes):
    logits, labels = problem(classes)
    found = report(logits, labels, [str(k) for k in range(classes)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for name in ("accuracy", "auc", "sensitivity", "specificity"):
        assert found[name]["lower95"] < found[name]["value"] < found[name]["upper95"]
    assert found["n"] == 90
    assert found["majority"] == pytest.approx(1 / classes, abs=0.02)


def test_several_images_of_a_patient_widen_the_interval():
    logits, labels = problem(2)
    order = np.argsort((logits.argmax(1) == labels).numpy(), kind="stable")
    logits, labels = logits[order], labels[order]
    alone = report(logits, labels, ["a", "b"], [f"p{k}" for k in range(90)])
    together = report(logits, labels, ["a", "b"], [f"p{k // 9}" for k in range(90)])
    assert alone == report(logits, labels, ["a", "b"])
    widths = [r["accuracy"]["upper95"] - r["accuracy"]["lower95"] for r in (alone, together)]
    assert widths[1] > 1.5 * widths[0]
    assert "p1" not in json.dumps(together)
