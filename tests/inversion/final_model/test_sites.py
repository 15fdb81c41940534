import numpy as np
import pytest

from medleak.custom.data.datalist import Item, save_datalist
from medleak.custom.phantoms import listing, render
from medleak.custom.record import LeftOut, Manifest, UpdateInfo, utc_now, write_manifest
from medleak.custom.record import write_record as write
from medleak.inversion.final_model.sites import Sites

PICTURE = ((16, 16), 1)
COUNTS = {"site-1": 3, "site-2": 2}


def record(root, left=(), **said):
    manifest = Manifest(
        job="j",
        created=utc_now(),
        left_out=tuple(LeftOut(round=0, site=s, reason="too late") for s in left),
    )
    write_manifest(root, manifest)
    tensors = {"w": np.zeros(1, np.float32)}
    for site, n in COUNTS.items():
        text = {"round": 0, "site": site, "time": utc_now(), "n_images": n, "augmentation": ()}
        write(root, UpdateInfo.model_validate(text | said), tensors, tensors)
    return root


@pytest.fixture
def truth(tmp_path):
    trained: list[Item] = []
    for seed, (site, n) in enumerate({**COUNTS, "site-3": 4}.items()):
        items = listing(n + 2, seed=seed)
        at = render(items, tmp_path / site, 16, seed=seed)
        named = [Item(str(at / i.image), i.label, f"{site} {k}") for k, i in enumerate(items)]
        # Each holds out what the one before trained on: that is not nobody's.
        lists = {"training": named[:n], "validation": named[n:] + trained}
        trained = [Item(named[0].image, named[0].label, "another name")]
        save_datalist(tmp_path / "truth" / f"{site}.json", lists)
    return tmp_path / "truth"


def test_of_all_sites_together_nobodys_are_what_none_trained_on(tmp_path, truth):
    sites = Sites.of(record(tmp_path / "records"), truth, PICTURE)
    assert sites.trained is not None
    assert len(sites.trained) == len(sites.training_images()) == 5
    held = sites.held_out()
    assert held is not None
    assert len(held) == 4
    assert (sites.doubt, sites.views_known) == ("", True)


def test_one_list_is_not_that_of_several_sites(tmp_path, truth):
    records = record(tmp_path / "records")
    with pytest.raises(ValueError, match="images of the others would be taken for nobody's"):
        Sites.of(records, truth / "site-1.json", PICTURE)


@pytest.mark.parametrize("name", ["site-4", "../site-3"])
def test_with_a_site_whose_update_was_left_out_anybody_may_have_been_in(tmp_path, truth, name):
    sites = Sites.of(record(tmp_path / "records", left=[name]), truth, PICTURE)
    assert list(sites.datalists) == ["site-1", "site-2", name]
    assert sites.known is sites.trained is sites.held_out() is None
    assert not sites.views_known


def test_a_site_that_was_left_out_counts_where_its_list_is_there(tmp_path, truth):
    sites = Sites.of(record(tmp_path / "records", left=["site-3"]), truth, PICTURE)
    assert sites.trained is not None
    assert len(sites.trained) == 9


def test_a_list_of_another_run_is_doubted_by_its_length(tmp_path, truth):
    doubt = Sites.of(record(tmp_path / "records", n_images=3), truth, PICTURE).doubt
    assert doubt == "site-2 trained on 3 images by the record, its list has 2"


@pytest.mark.parametrize(
    ("views", "known"), [(None, False), ((), True), (("hflip",), True), (("rotate",), False)]
)
def test_how_training_changed_the_images_is_known_or_not(tmp_path, truth, views, known):
    sites = Sites.of(record(tmp_path / "records", augmentation=views), truth, PICTURE)
    assert sites.views_known is known
