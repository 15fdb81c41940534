"""Tests of medleak.custom.factories: what a factory may do while it runs, seen by an audit hook."""

import os
import socket
import subprocess
import sys
import threading
import urllib.request

import pytest
import torchvision
from monai.networks.nets import resnet

from medleak.custom import factories
from medleak.filters.allowed import NETWORKS
from medleak.inversion.networks import build_network as build_recorded

WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "urllib.", "http.")
seen: list[str] = []
_watching = threading.local()


def _watch(event, arguments):
    if getattr(_watching, "on", False) and event.startswith(WATCHED):
        seen.append(event)


@pytest.fixture
def audited():
    """Every connection and process that this thread tries, whether or not it is let."""
    if not hasattr(_watching, "hooked"):
        sys.addaudithook(_watch)
        _watching.hooked = True
    seen.clear()
    _watching.on = True
    yield seen
    _watching.on = False


@pytest.mark.parametrize("path", NETWORKS)
def test_our_own_factories_neither_connect_nor_start_anything(path, audited):
    factory = factories.resolve(path, ())
    factory()
    assert audited == []


TRIES = {
    "a connection": lambda: socket.create_connection(("127.0.0.1", 9)),
    "a name to look up": lambda: socket.getaddrinfo("localhost", 80),
    "a datagram": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "a download": lambda: urllib.request.urlopen("http://127.0.0.1:9/weights"),
    "a process": lambda: subprocess.run(["true"], check=False),
    "a shell": lambda: os.system("true"),
}


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("what", TRIES)
def test_a_sealed_block_refuses(what):
    with factories.sealed(), pytest.raises(PermissionError, match="neither download nor start"):
        TRIES[what]()


def test_the_seal_ends_with_its_block_and_is_of_one_thread():
    with factories.sealed():
        done = []
        other = threading.Thread(target=lambda: done.append(socket.getaddrinfo("127.0.0.1", 80)))
        other.start()
        other.join()
    assert done
    assert subprocess.run(["true"], check=False).returncode == 0


def test_a_record_cannot_make_the_auditor_download(audited, monkeypatch):
    def fetch(**_):
        return urllib.request.urlopen("http://127.0.0.1:9/weights")

    monkeypatch.setattr(resnet, "resnet18", fetch)
    fetch.__module__ = resnet.__name__  # as if the library's own builder did so
    fetch.__name__ = "resnet18"
    monkeypatch.setattr(factories.inspect, "isfunction", callable)
    with pytest.raises(ValueError, match="is refused"):
        build_recorded("monai.networks.nets.resnet.resnet18", {})
    with pytest.raises(ValueError, match="is outside"):  # its name says that it fetches
        build_recorded("monai.networks.nets.resnet.get_pretrained_resnet_medicalnet", {})
    assert [e for e in audited if e.startswith("socket.connect")] == []


def test_no_model_of_torchvision_connects_when_a_record_names_it(audited):
    for name in ("resnet18", "mobilenet_v3_small", "googlenet", "inception_v3"):
        assert name in torchvision.models.list_models()
        build_recorded(f"torchvision.models.{name}", {"weights": "DEFAULT", "num_classes": 2})
    assert audited == []
