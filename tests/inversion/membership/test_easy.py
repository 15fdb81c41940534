import numpy as np
import torch

from medleak.inversion.knowledge import Knowledge
from medleak.inversion.membership.easy import easy_record
from medleak.inversion.observation import observe


def test_the_record_is_of_one_plain_step_on_the_images(make_run):
    from medleak.custom.record import read_record

    run = make_run({"site-1": 2}, size=16)
    record = read_record(run.records, 0, "site-1")
    observed = observe(record, Knowledge())
    images, labels = run.images("site-1", 16), torch.tensor([0, 1])
    found = easy_record(record, observed, images, labels)
    assert (found.info.n_images, found.info.n_steps, found.info.optimizer) == (2, 1, "sgd")
    again = easy_record(record, observed, images, labels)
    for name, value in found.update.items():
        assert np.array_equal(value, again.update[name])
        assert np.isfinite(value).all()
    weights = [n for n in found.update if n.endswith("conv1.weight")]
    assert all(found.update[n].any() for n in weights)
