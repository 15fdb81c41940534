"""Tests of medleak.inversion.malicious.fishing."""

from tests.inversion.malicious.batches import images, update, view

from medleak.custom.small_networks import strided_cnn
from medleak.inversion.malicious.fishing import Fishing
from medleak.inversion.measures.similarity import assign


def test_what_lies_between_two_cuts_comes_back():
    seen, pixels = view(), images(8, 8)
    attack = Fishing(rounds=24, first=0.02, step=0.04)
    models = [attack.tamper(strided_cnn(2, 32), seen, k) for k in range(attack.rounds)]
    updates = [update(m, pixels, seen) for m in models]
    found = attack.read(updates, models[0], seen)
    assert int((assign(found, pixels).ssim > 0.9).sum()) >= 2


def test_where_nothing_changes_nothing_is_found():
    seen, pixels, attack = view(), images(4, 9), Fishing()
    sent = attack.tamper(strided_cnn(2, 32), seen)
    same = update(sent, pixels, seen)
    assert attack.read([same, same], sent, seen).shape == (0, 1, 32, 32)
