"""Tests of clients that are recorded as a server would."""

import pytest
from tests.inversion.reproduce.reports import small_model

from medleak.custom.data.datalist import load_datalist
from medleak.custom.record import list_updates, read_info, read_record, verify
from medleak.inversion.reproduce.clients import Client, federate
from medleak.inversion.reproduce.material import folder, phantoms


def test_clients_are_recorded_as_a_server_would(place, small_network):
    material = phantoms(place.out, "cxr", 3, 16)
    manifest, state = small_model(material, small_network)
    clients = [
        Client(site="site-1", items=material.items[:2], batch_size=1),
        Client(site="site-9", items=material.items[2:], batch_size=1, epochs=2),
    ]
    federate(place.out, manifest, state, clients, lr=0.1, rounds=2)
    records = place.out / "records"
    assert list_updates(records) == [(r, s) for r in (0, 1) for s in ("site-1", "site-9")]
    assert all(error is None for *_, error in verify(records))
    info = read_info(records, 1, "site-9")
    assert (info.n_images, info.n_steps, info.batch_size, info.local_epochs) == (1, 2, 1, 2)
    one, nine = (read_record(records, 0, s) for s in ("site-1", "site-9"))
    after = read_record(records, 1, "site-1").global_state
    for name, before in one.global_state.items():
        if before.dtype.kind == "f":
            mean = (2 * one.update[name] + nine.update[name]) / 3
            assert after[name] == pytest.approx(before + mean, abs=1e-5), name
    truth = load_datalist(place.out / "site-1" / "datalist.json")["training"]
    assert [i.image for i in truth] == [i.image for i in material.items[:2]]


def test_a_run_of_other_images_is_not_taken_for_this_one(place, small_network, films):
    made = phantoms(place.out, "cxr", 1, 16)
    manifest, state = small_model(made, small_network)
    client = [Client(site="site-9", items=made.items, batch_size=1)]
    federate(place.out, manifest, state, client, lr=0.1)
    other, _ = small_model(folder(place.out, films, 16), small_network)
    with pytest.raises(ValueError, match="Choose another --out"):
        federate(place.out, other, state, client, lr=0.1)
