"""Tests of the entries of the report on TMI 2023."""

from medleak.inversion.attacks.registry import attack_of
from medleak.inversion.reproduce.experiment import bounded
from medleak.inversion.reproduce.tmi2023_entries import ABLATIONS


def test_every_ablation_is_an_attack_that_exists_and_takes_a_budget():
    for _, attack in ABLATIONS.values():
        _, settings = attack_of(bounded(attack, 2.0))
        assert settings.seconds == 2.0
