"""Tests of medleak.custom.flare.encryption."""

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.sec.security_content_service import SecurityContentService

from medleak.custom.flare.encryption import (
    CLIENT_KEYS,
    SERVER_KEYS,
    RestoreShapes,
    SimulationContexts,
)
from medleak.custom.training.initial import build_job_network

LENET, ARGS = "medleak.custom.small_networks.lenet", {"num_classes": 2, "spatial_size": 16}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The simulator's startup folders: the server's and a site's."""
    server, site = tmp_path / "startup", tmp_path / "site-1" / "startup"
    for folder in (server, site):
        folder.mkdir(parents=True)

    def enter(folder):
        monkeypatch.setattr(SecurityContentService, "content_folder", str(folder))

    return server, site, enter


def start(enter, server, site):
    enter(server)
    SimulationContexts().handle_event(EventType.START_RUN, FLContext())
    enter(site)
    SimulationContexts(on_site=True).handle_event(EventType.ABOUT_TO_START_RUN, FLContext())


def test_a_simulation_gets_keys_and_the_server_no_secret_one(folders):
    tenseal = pytest.importorskip("tenseal", reason="needs the extra he")
    server, site, enter = folders
    start(enter, server, site)
    theirs = tenseal.context_from((site / CLIENT_KEYS).read_bytes())
    ours = tenseal.context_from((server / SERVER_KEYS).read_bytes())
    assert theirs.is_private()
    assert ours.is_public()
    sent = tenseal.ckks_vector(theirs, [1.0, -2.0]).serialize()
    total = tenseal.ckks_vector_from(ours, sent) + tenseal.ckks_vector_from(ours, sent)
    got = tenseal.ckks_vector_from(theirs, total.serialize()).decrypt()
    assert got == pytest.approx([2.0, -4.0], abs=1e-5)


def test_keys_that_are_there_stay(folders):
    server, site, enter = folders
    for path in (server / CLIENT_KEYS, server / SERVER_KEYS):
        path.write_bytes(b"mine")
    start(enter, server, site)
    assert (server / SERVER_KEYS).read_bytes() == b"mine"
    assert (site / CLIENT_KEYS).read_bytes() == b"mine"


@pytest.mark.parametrize("kit", ["fed_server.json", "fed_client.json"])
def test_a_provisioned_federation_never_gets_keys_of_ours(folders, kit):
    server, site, enter = folders
    for folder in (server, site):
        (folder / kit).write_text("{}")
    start(enter, server, site)
    assert [p.name for p in server.iterdir()] == [p.name for p in site.iterdir()] == [kit]


def test_decrypted_weights_get_their_shapes_and_types_again():
    state = {k: v.numpy() for k, v in build_job_network(LENET, ARGS).state_dict().items()}
    flat = {k: v.astype(np.float64).ravel().tolist() for k, v in state.items()}
    for data in (flat, state):
        shareable = DXO(DataKind.WEIGHTS, data=dict(data)).to_shareable()
        result = RestoreShapes(LENET, ARGS).process(shareable, FLContext())
        for name, value in from_shareable(result).data.items():
            assert value.dtype == state[name].dtype
            np.testing.assert_array_equal(value, state[name])
