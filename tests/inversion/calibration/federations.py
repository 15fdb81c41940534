"""A federation whose one image an attack finds until the noise is strong enough."""

import pytest
import torch
from tests.inversion.audit.audits import fake

from medleak.custom.record import read_record
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.inversion.attacks.registry import ATTACKS
from medleak.inversion.audit.health import easy_image, easy_record

LIMIT = 0.3


@pytest.fixture
def federation(make_run, monkeypatch):
    """(run, its attack): it finds the image of any update with less noise than ``LIMIT``."""
    run = make_run({"site-9": 1}, rounds=(0, 4))
    record = read_record(run.records, 4, "site-9")
    image, label = easy_image(record.manifest.known_input())
    easy = easy_record(record, image, label)

    def images_of(observation):
        update = observation.parameter_update
        for known, answer in ((record, run.images("site-9", 16)), (easy, image)):
            apart = sum(
                float((v - torch.tensor(known.update[n])).norm()) for n, v in update.items()
            )
            if apart < LIMIT * sum(float(torch.tensor(known.update[n]).norm()) for n in update):
                return answer
        return torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    table = fake(images_of)
    monkeypatch.setitem(ATTACKS, "fake", table["fake"])
    return run, table


def protects(run, strength, seed=0):
    """Whether the noise hides the image from the attack of `federation`."""
    record = read_record(run.records, 4, "site-9")
    text = f"percentile_gaussian:sigma0={strength:g},scope=group"
    rng = NoiseSource.seeded(seed, 4, "site-9", text)
    sent = defence(text)(record.update, rng=rng, global_state=record.global_state)
    names = [n for n in record.update if "running" not in n and "tracked" not in n]
    apart = [torch.tensor(sent[n] - record.update[n]).norm() for n in names]
    whole = [torch.tensor(record.update[n]).norm() for n in names]
    return float(sum(apart)) >= LIMIT * float(sum(whole))
