"""Tests of what the experiments share."""

from medleak.inversion.reproduce.experiment import QUICK
from medleak.inversion.reproduce.tmi2023_entries import ABLATIONS


def test_quick_is_short():
    assert QUICK.seconds is not None
    cases = len(QUICK.sites) * (QUICK.rounds + 2 * len(QUICK.strengths))
    cases += len(ABLATIONS) + 4 * (2 * len(QUICK.schedule) - 1)
    assert cases * QUICK.seconds < 200
