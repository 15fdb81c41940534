"""Tests of the made-up dermoscopies."""

import numpy as np

from medleak.custom.phantoms import phantom


def test_a_malignant_lesion_has_more_colours_than_a_benign_one():
    def spread(kind, k):
        image, mask = phantom("dermoscopy", f"{kind}/p{k:05d}_00.png", 64)
        assert mask is not None
        inside = image[mask > 0] / 255.0
        return (inside / inside.sum(1, keepdims=True)).std(0).sum()

    benign, malignant = ([spread(kind, k) for k in range(20)] for kind in ("benign", "malignant"))
    assert np.median(malignant) > 1.3 * np.median(benign)
