"""Tests of medleak.inversion.malicious.rescaling."""

import torch
from tests.inversion.malicious.batches import images, update, view

from medleak.custom.small_networks import strided_cnn
from medleak.inversion.malicious.rescaling import Rescaling
from medleak.inversion.measures.similarity import assign


def test_directions_stay_and_images_come_back():
    seen, pixels, attack = view(), images(16, 7), Rescaling(share=1 / 16)
    honest = strided_cnn(2, 32)
    before = honest.state_dict()["5.weight"].clone()
    sent = attack.tamper(honest, seen)
    after = sent.state_dict()["5.weight"]
    assert torch.allclose(after, attack.gain * before)
    found = attack.read(update(sent, pixels, seen), sent, seen, most=16)
    assert int((assign(found, pixels).ssim > 0.9).sum()) >= 4


def test_only_the_named_rows_change():
    before = strided_cnn(2, 32).state_dict()
    after = Rescaling(rows=3).tamper(strided_cnn(2, 32), view()).state_dict()
    changed = (before["5.bias"] != after["5.bias"]).nonzero().flatten().tolist()
    assert changed == [0, 1, 2]
