"""Tests of medleak.inversion.rehearsal.measure, through the process that the filter runs it in."""

import pytest
import torch

from medleak.custom import phantoms
from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.networks import resnet18
from medleak.custom.small_networks import strided_cnn
from medleak.filters.sentinel.rehearsal import MEASURE, Limits, judge, rehearse
from medleak.filters.update import UpdateError
from medleak.inversion.malicious.fishing import Fishing
from medleak.inversion.malicious.rescaling import Rescaling
from medleak.inversion.malicious.view import View
from medleak.inversion.rehearsal.measure import measure

CNN = "medleak.custom.small_networks.strided_cnn"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Arguments of a site of 16 phantoms."""
    folder = tmp_path_factory.mktemp("site")
    items = phantoms.listing(16)
    root = phantoms.render(items, folder, 32)
    items = [Item(str(root / i.image), i.label, i.patient) for i in items]
    save_datalist(folder / "datalist.json", {"training": items})
    return {
        **{"datalist": str(folder / "datalist.json"), "batch_size": 8, "spatial_size": [32, 32]},
        **{"channels": 1, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "num_classes": 2,
    }


def arrays(network):
    return {n: v.detach().numpy().copy() for n, v in network.state_dict().items()}


def public():
    return View(public=torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(0)))


def test_an_honest_resnet_gives_nothing_away_and_says_what_could_not_be_read(site):
    found = rehearse(MEASURE, arrays(resnet18(2)), site, time_limit=100)
    assert {r.check: r.status for r in judge(found, Limits())} == {
        **{"given_away": "nothing there", "dominance": "fine", "class_loss": "fine"},
    }
    assert found["images"] == 8


def test_a_network_is_told_by_what_it_gives_away(site):
    small = {**site, "model_path": CNN, "spatial_size": [64, 64]}
    sent = Rescaling(share=1 / 8).tamper(
        strided_cnn(2, 64), View(public=public().public.repeat(1, 1, 2, 2))
    )
    found = measure(arrays(sent), **small)
    assert found["given_away"] > 0
    assert judge(found, Limits())[0].status == "odd"


def test_a_last_layer_made_for_fishing_is_told_by_the_loss_of_a_class(site):
    sent = Fishing().tamper(resnet18(2).train(), public())
    assert measure(arrays(sent), **site)["class_loss"] > Limits().class_loss


def test_a_step_of_one_image_cannot_be_rehearsed(site):
    with pytest.raises(UpdateError, match="A step of this site has 1 image"):
        rehearse(MEASURE, arrays(resnet18(2)), {**site, "batch_size": 1}, time_limit=100)


def test_a_model_of_another_network_is_refused(site):
    with pytest.raises(ValueError, match="another network"):
        measure(arrays(strided_cnn(2, 32)), **site)
