"""Known answers of medleak.inversion.evidence.one_round: at the true images every loss is zero."""

import pytest
import torch
from tests.inversion.evidence.rounds import client, compare, smooth

from medleak.inversion.evidence.one_round import read_evidence


def test_a_batch_leaves_row_spaces_only_where_it_fits():
    truth = smooth(2)
    evidence = read_evidence(client(truth, torch.tensor([1, 0])))
    assert evidence.spans
    assert all("layer4" in n for n in evidence.spans)
    found = compare(evidence, truth)
    assert found.statistics.item() == pytest.approx(0, abs=1e-4)
    assert found.span.item() == pytest.approx(0, abs=1e-4)
    swapped = compare(evidence, truth.flip(0))
    assert swapped.span.item() == pytest.approx(0, abs=1e-4)


def test_without_statistics_the_row_spaces_remain():
    evidence = read_evidence(client(smooth(1), torch.tensor([1]), statistics=False))
    assert evidence.norms == ()
    assert evidence.spans
    assert compare(evidence, smooth(1)).statistics.item() == 0
