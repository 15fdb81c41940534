"""Tests of medleak.inversion.malicious.trap_weights."""

import torch
from tests.inversion.malicious.batches import images, update, view

from medleak.custom.networks import resnet18_cifar
from medleak.custom.small_networks import strided_cnn
from medleak.inversion.malicious.features import before_hidden
from medleak.inversion.malicious.trap_weights import TrapWeights
from medleak.inversion.measures.similarity import assign


def test_few_public_images_reach_a_neuron():
    seen, attack = view(), TrapWeights(share=1 / 32)
    sent = attack.tamper(strided_cnn(2, 32), seen)
    assert isinstance(sent, torch.nn.Sequential)
    with torch.no_grad():
        reached = sent[5](before_hidden(sent)(seen.shown(seen.public))) > 0
    assert 0 < float(reached.float().mean()) <= 1.2 / 32


def test_images_come_back_from_a_small_network_and_through_a_front():
    seen, pixels, attack = view(), images(16, 6), TrapWeights(share=1 / 16)
    for model in (strided_cnn(2, 32), resnet18_cifar(2)):
        sent = attack.tamper(model, seen)
        found = attack.read(update(sent, pixels, seen), sent, seen, most=16)
        assert int((assign(found, pixels).ssim > 0.9).sum()) >= 4
