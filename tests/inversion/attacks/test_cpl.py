"""Tests of CPL."""

from typing import Any

import pytest
import torch

from medleak.inversion.attacks import cpl
from medleak.inversion.attacks.cpl import CPL
from medleak.inversion.attacks.dlg import DLG
from medleak.inversion.attacks.idlg import IDLG
from medleak.inversion.knowledge import Knowledge

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"iterations": 300, "attempts": 1}


def attack(module, settings, observation, prior=None, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    return module.run(settings, observation, prior, generator=generator, **kwargs)


def test_known_labels_are_used_as_they_are(observed, smooth_images):
    truth, labels = smooth_images(2, seed=8), torch.tensor([1, 0])
    observation = observed(truth, labels, knowledge=Knowledge(labels="known"))
    found = attack(cpl, CPL(iterations=20, attempts=1), observation)
    assert found.labels is not None
    assert torch.equal(found.labels, labels)


def test_cpl_tries_its_starts_in_turn(observed, smooth_images):
    observation = observed(smooth_images(), torch.tensor([0]))
    found = attack(
        cpl,
        CPL(iterations=20, attempts=3, starts=("normal", "uniform", "constant"), solved=1e-9),
        observation,
    )
    assert found.attempts == 3
    best_of_one = [
        attack(cpl, CPL(iterations=20, attempts=1, starts=(s,), solved=1e-9), observation)
        for s in ("normal", "constant")
    ]
    assert found.losses["gradient"] < best_of_one[0].losses["gradient"]


def test_cpls_label_term_pulls_away_from_the_truth(observed, smooth_images):
    truth = smooth_images(seed=1)
    observation = observed(truth, torch.tensor([1]))
    with_term, without = (
        attack(cpl, CPL(label_weight=w, **SHORT), observation) for w in (1.0, 0.0)
    )
    assert with_term.losses["gradient"] > without.losses["gradient"]


def test_cpl_refuses_unknown_starts_and_negative_weights():
    with pytest.raises(ValueError, match="start must be one of normal"):
        CPL(starts=("dark",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="starts is empty"):
        CPL(starts=())
    for kind in (DLG, IDLG):
        with pytest.raises(ValueError, match="start must be one of normal"):
            kind(start="dark")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"label_weight must be at least 0, got -1\.0"):
        CPL(label_weight=-1.0)
