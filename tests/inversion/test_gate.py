"""Tests of medleak.inversion.gate, through the process that the filter runs it in."""

import numpy as np
import pytest
import torch
from torch import nn

from medleak.custom import phantoms
from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.data.transforms import IMAGENET_MEAN, IMAGENET_STD, load_images, network_input
from medleak.custom.networks import resnet18
from medleak.filters.apart.leakage_gate import check_leakage, measure_leakage
from medleak.filters.noise import NoiseSource
from medleak.filters.registry import defence
from medleak.filters.update import UpdateError

pytestmark = pytest.mark.slow

MEASURE = "medleak.inversion.gate:measure"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """(update, global state, arguments) of one step on one phantom."""
    return stepped(tmp_path_factory, lambda images: images)


def stepped(tmp_path_factory, augment):
    """The same with ``augment`` between the list and the network."""
    folder = tmp_path_factory.mktemp("site")
    (item,) = phantoms.listing(1)
    root = phantoms.render([item], folder, 64)
    item = Item(str(root / item.image), item.label, item.patient)
    save_datalist(folder / "datalist.json", {"training": [item]})
    images, labels = load_images([item], spatial_size=(64, 64))
    network = resnet18().train()
    sent = {k: v.numpy().copy() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    x = network_input(augment(images), IMAGENET_MEAN, IMAGENET_STD)
    nn.functional.cross_entropy(network(x), labels).backward()
    optimizer.step()
    update = {k: v.numpy() - sent[k] for k, v in network.state_dict().items()}
    arguments = {
        "datalist": str(folder / "datalist.json"),
        "batch_size": 1,
        "lr": 0.01,
        "spatial_size": [64, 64],
        "channels": 1,
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "num_classes": 2,
        "prior": "phantoms",
        "seconds": 8,
    }
    return update, sent, arguments


def test_an_update_that_gives_its_image_away_is_kept_at_home(client):
    update, sent, arguments = client
    found = measure_leakage(MEASURE, update, sent, arguments, time_limit=100)
    assert found.healthy
    assert found.rdlv > 0.2
    with pytest.raises(UpdateError):
        check_leakage(found, 0.0)


def test_an_update_of_a_flipped_image_is_kept_at_home_too(tmp_path_factory):
    update, sent, arguments = stepped(tmp_path_factory, lambda images: images.flip(-1))
    with pytest.raises(UpdateError) as kept:
        check_leakage(measure_leakage(MEASURE, update, sent, arguments, time_limit=100), 0.0)
    assert "health check" not in str(kept.value)  # it was measured, not only not believed


def test_an_update_that_is_drowned_in_noise_may_leave(client):
    update, sent, arguments = client
    drown = defence("percentile_gaussian:sigma0=100,scope=group")
    noisy = drown(update, rng=NoiseSource.seeded(0), global_state=sent)
    arrays = {name: np.asarray(value) for name, value in noisy.items()}
    found = measure_leakage(MEASURE, arrays, sent, arguments, time_limit=100)
    assert found.healthy
    check_leakage(found, 0.0)


def test_a_list_that_is_not_there_keeps_the_update_at_home(client):
    update, sent, arguments = client
    with pytest.raises(UpdateError):
        measure_leakage(
            MEASURE, update, sent, {**arguments, "datalist": "nowhere.json"}, time_limit=60
        )
