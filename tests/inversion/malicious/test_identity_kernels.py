"""Tests of medleak.inversion.malicious.identity_kernels."""

import torch
from tests.inversion.malicious.batches import images, update, view

from medleak.custom.small_networks import strided_cnn
from medleak.inversion.malicious.identity_kernels import IdentityKernels, UnfoldingKernels
from medleak.inversion.measures.similarity import assign


def test_images_come_back_from_inside_an_ordinary_network():
    seen, pixels, attack = view(), images(32, 4), UnfoldingKernels(scale=0.5)
    names = list(strided_cnn(2, 32).state_dict())
    sent = attack.tamper(strided_cnn(2, 32), seen)
    assert list(sent.state_dict()) == names
    found = attack.read(update(sent, pixels, seen), sent, seen)
    assert int((assign(found, pixels).ssim > 0.99).sum()) >= 20


def test_each_site_is_read_from_the_sum_over_sites():
    seen = view()
    attacks = [IdentityKernels(bins=256, sites=3, site=k) for k in range(3)]
    batches = [images(16, 5 + k) for k in range(3)]
    models = [a.tamper(strided_cnn(2, 32), seen) for a in attacks]
    updates = [update(m, b, seen) for m, b in zip(models, batches, strict=True)]
    total = {n: torch.stack([u[n] for u in updates]).sum(0) for n in updates[0]}
    for attack, batch in zip(attacks, batches, strict=True):
        found = attack.read(total, models[0], seen)
        assert int((assign(found, batch).ssim > 0.9).sum()) >= 8
