"""MedPFL Tables IV and V: colours of a set, and what a classifier sees in recovered images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from medleak.inversion.figures.audit_data import AuditData
from medleak.inversion.reproduce.classifier import EPOCHS, classifier
from medleak.inversion.reproduce.colour import colour_statistics
from medleak.inversion.reproduce.comparison import PaperEntry, grid
from medleak.inversion.reproduce.material import Material
from medleak.inversion.reproduce.recognition import Accuracy, audit_accuracy
from medleak.inversion.reproduce.stated import TABLE_IV, TABLE_V

_CLASSIFIER = "medleak.custom.networks.resnet18"


def table_iv(sets: Sequence[Material], size: int) -> PaperEntry:
    """Mean and standard deviation of each channel of every set."""
    rows = []
    for material in sets:
        found = colour_statistics([*material.items, *material.public], (size, size))
        mean, std = (", ".join(f"{v:.4f}" for v in values) for values in (found.mean, found.std))
        rows.append([material.name, f"[{mean}]", f"[{std}]", str(found.n)])
    return PaperEntry(
        number="Table IV",
        shows="mean and standard deviation of pixels",
        published=grid(("set", "mean", "standard deviation"), TABLE_IV),
        here=f"at {size} px, where averaging has taken some of the deviation."
        + grid(("set", "mean", "standard deviation", "images"), rows),
    )


def table_v(
    sets: Sequence[Material], audits: Mapping[str, AuditData], size: int, weights: Path | None
) -> PaperEntry:
    """Accuracy on originals, on what CPL recovered, and on that under noise.

    Args:
        sets: Their public images train the classifier.
        audits: By name of the set: audits of the attacked images.
        size: Of the images, px.
        weights: Of the ResNet-18 that the classifiers start from; None: random.
    """
    rows = []
    for material in sets:
        network = classifier(material, _CLASSIFIER, size, weights=weights)
        found = audit_accuracy(audits[material.name].path, network)
        rows += [
            [material.name, f"`{name}`", _text(accuracy), str(accuracy.n)]
            for name, accuracy in found.items()
            if name == "original" or name.startswith("cpl")
        ]
    return PaperEntry(
        number="Table V",
        shows="accuracy of a classifier on original, recovered and perturbed images",
        published=grid(("images", "CIFAR-10", "melanoma", "X-ray", "brain MRI"), TABLE_V),
        here=grid(("set", "images", "accuracy [95 %]", "number"), rows),
        why=f"The classifier is a ResNet-18, {EPOCHS} epochs on images of patients who are not "
        "attacked; the paper does not say what its own was trained on.",
    )


def _text(accuracy: Accuracy) -> str:
    if accuracy.lower95 is None or accuracy.upper95 is None:
        return f"{accuracy.share:.2f}"
    return f"{accuracy.share:.2f} [{accuracy.lower95:.2f}, {accuracy.upper95:.2f}]"
