"""How well a network classifies, with 95 % intervals: what a defence costs is judged by these.

With two classes, class 1 is the positive one. With more, sensitivity, specificity and AUC are
means over the classes, each against the rest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric, get_confusion_matrix
from monai.metrics.rocauc import compute_roc_auc
from scipy.stats import rankdata
from torch import Tensor, nn

from medleak.custom.intervals import bootstrap_of, wilson

Interval = dict[str, float]
"""``{"value", "lower95", "upper95"}``."""


def scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, sensitivity, specificity and AUC, all in [0, 1], and loss (mean cross-entropy).

    Args:
        logits: [N, K], K at least 2.
        labels: [N] classes. What some class has no image to tell by is left out.
    """
    classes = logits.shape[1]
    truth = nn.functional.one_hot(labels, classes)
    found = {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "loss": nn.functional.cross_entropy(logits, labels).item(),
    }
    present = truth.sum(0)
    if not bool((present > 0).all()):
        return found
    chosen = nn.functional.one_hot(logits.argmax(1), classes)
    counts = get_confusion_matrix(chosen, truth).sum(0)  # [K, (tp, fp, tn, fn)]
    for name in ("sensitivity", "specificity"):
        of_class = compute_confusion_matrix_metric(name, counts)
        found[name] = (of_class[1] if classes == 2 else of_class.mean()).item()
    probabilities = logits.double().softmax(1)
    # With two classes, both have the same.
    found["auc"] = np.mean(np.asarray(compute_roc_auc(probabilities, truth, "macro"))).item()
    return found


def report(
    logits: Tensor, labels: Tensor, classes: Sequence[str], patients: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything that is said of a tested model; JSON-able.

    Intervals of proportions are Wilson's if each image is of another patient. The others, and all
    if a patient has several images, are percentiles of 1,000 bootstrap resamples of patients.

    Args:
        logits: [N, K].
        labels: [N] classes.
        classes: K names, in the order of the labels.
        patients: N opaque names; empty: each image of another one. They are not in the result.

    Returns:
        ``n``, ``classes``, ``confusion`` (rows: truth, columns: prediction), ``majority`` (share of
        the most frequent class), ``loss``, and ``{"value", "lower95", "upper95"}`` or None under
        ``accuracy``, ``auc``, ``sensitivity``, ``specificity``.
    """
    point = scores(logits, labels)
    truth, probabilities = labels.numpy(), logits.double().softmax(1).numpy()
    confusion = _confusion(truth, probabilities)

    def statistic(index: np.ndarray) -> dict[str, float]:
        return _resampled(truth[index], probabilities[index])

    intervals = bootstrap_of(statistic, patients or range(len(truth)))
    result: dict[str, Any] = {
        name: {"value": point[name]} | _interval(intervals[name]) if name in point else None
        for name in ("accuracy", "auc", "sensitivity", "specificity")
    }
    if len(set(patients)) in (0, len(truth)):
        hits = int(np.trace(confusion))
        result["accuracy"] |= _share(hits, len(truth))
        if len(classes) == 2 and result["sensitivity"]:
            for name, k in (("sensitivity", 1), ("specificity", 0)):
                result[name] |= _share(int(confusion[k, k]), int(confusion[k].sum()))
    return {
        "n": len(truth),
        "loss": point["loss"],
        "majority": float(confusion.sum(1).max() / len(truth)),
        **result,
        "confusion": confusion.tolist(),
        "classes": list(classes),
    }


def _interval(bounds: tuple[float, float]) -> dict[str, float]:
    return {"lower95": bounds[0], "upper95": bounds[1]}


def _share(hits: int, n: int) -> dict[str, float]:
    return _interval(wilson(hits / n, n))


def _confusion(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    k = probabilities.shape[1]
    return np.bincount(truth * k + probabilities.argmax(1), minlength=k * k).reshape(k, k)


def _resampled(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """As :func:`scores`, fast enough for a thousand resamples; NaN where a class is missing."""
    counts = _confusion(truth, probabilities)
    n, k = len(truth), len(counts)
    positives = counts.sum(1)
    found = {"accuracy": float(np.trace(counts) / n)}
    if not (positives > 0).all():
        return found | dict.fromkeys(("sensitivity", "specificity", "auc"), float("nan"))
    hits = np.diag(counts)
    sensitivity = hits / positives
    specificity = 1 - (counts.sum(0) - hits) / (n - positives)
    ranks = rankdata(probabilities, axis=0)
    above = np.array([ranks[truth == c, c].sum() for c in range(k)])
    # Mann-Whitney's U over the number of pairs.
    auc = (above - positives * (positives + 1) / 2) / (positives * (n - positives))
    one = (lambda values: values[1]) if k == 2 else np.mean
    return found | {
        "sensitivity": float(one(sensitivity)),
        "specificity": float(one(specificity)),
        "auc": float(np.mean(auc)),
    }
