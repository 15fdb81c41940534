"""Audit directories that a stranger changed: report and serve say so in one line."""

import json
import random
import re
import shutil
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from tests.inversion.report.directories import Directory, grid
from tests.security.effort import cases

from medleak.inversion.report import server
from medleak.inversion.report.html.page import index, render
from medleak.inversion.report.reading import read_audit
from medleak.inversion.report.sound import as_written

MUTATED = cases(40, 500)
VALUES = (
    *(None, True, [], {}, "text", [["a"]], {"a": {"b": []}}, -1, 0.5, 10**15, 1e25, "\ud83c", ""),
    *(["x", {"y": None}], {"mean": "a"}, {"mean": 1e308}, "../../etc", "<script>", 10**400),
)


def mutate(content: object, chance: random.Random) -> object:
    """``content`` with a value somewhere replaced, removed or repeated."""
    if isinstance(content, dict) and content and chance.random() < 0.9:
        key = chance.choice(list(content))
        if chance.random() < 0.1:
            return {k: v for k, v in content.items() if k != key}
        return {**content, key: mutate(content[key], chance)}
    if isinstance(content, list) and content and chance.random() < 0.9:
        at = chance.randrange(len(content))
        return [*content[:at], mutate(content[at], chance), *content[at + 1 :]]
    return chance.choice(VALUES)


def damage(folder: Path, chance: random.Random) -> str:
    names = [n for n in ("summary.json", "config.json", "results.csv") if (folder / n).exists()]
    name = chance.choice(names)
    path = folder / name
    if name.endswith(".json") and chance.random() < 0.8:
        content = json.loads(path.read_bytes())
        for _ in range(chance.choice((1, 1, 3))):
            content = mutate(content, chance)
        path.write_text(json.dumps(content))
        return name
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data))
    kind = chance.randrange(4)
    if kind == 0:
        data[at:at] = chance.choice((b"\xff\xfe", b"\x00", b"9" * 400, b'"', b"\n", b"[" * 5000))
    elif kind == 1:
        del data[at : at + 200]
    elif kind == 2:
        data = data[:at]
    elif numbers := list(re.finditer(rb"\d+\.?\d*", bytes(data))):
        place = chance.choice(numbers)
        data[place.start() : place.end()] = chance.choice((b"1e999", b"-1", b"nan", b"9" * 30))
    path.write_bytes(bytes(data))
    return name


@pytest.fixture
def sound(tmp_path, phantoms):
    folder = tmp_path / "sound"
    Directory(folder, phantoms).write(grid(["site-1"]))
    return folder


@pytest.mark.timeout(3600)
def test_a_mutated_audit_is_shown_or_refused_in_one_line(sound, tmp_path):
    chance, refused = random.Random(3), 0
    for number in range(MUTATED):
        folder = tmp_path / str(number)
        shutil.copytree(sound, folder)
        damage(folder, chance)
        try:
            with as_written([folder]):
                audit = read_audit(folder)
                assert render([audit], originals="redacted").html
        except ValueError:
            refused += 1
        assert index({"1": folder, "2": sound}, "redacted")
        shutil.rmtree(folder)
    assert 0 < refused < MUTATED


DAMAGE = {
    "a number of 400 digits": ("summary.json", ("sites", 0, "n"), 10**400, "400 digits|401 digits"),
    "half a character": ("summary.json", ("sites", 0, "site"), "\ud83c", r"sites\[0\]\.site"),
    "a figure beyond all figures": ("summary.json", ("sites", 0, "ssim"), 1e300, "is no figure"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_the_message_names_file_and_field(case, sound):
    name, place, value, message = DAMAGE[case]
    content = json.loads((sound / name).read_bytes())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (sound / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"{name}.*({message})"):
        read_audit(sound)


def test_a_table_that_is_not_utf_8_is_named(sound):
    (sound / "results.csv").write_bytes(b"\xff\xfe garbage")
    with pytest.raises(ValueError, match=r"results\.csv is damaged"):
        read_audit(sound)


def test_text_where_a_run_should_be_is_left_out(sound):
    content = json.loads((sound / "config.json").read_bytes())
    (sound / "config.json").write_text(json.dumps({**content, "runs": ["text"]}))
    with as_written([sound]):
        assert render([read_audit(sound)], originals="redacted").html


@pytest.fixture
def running(sound, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    monkeypatch.setattr(server, "HEADERS_WITHIN", 1.0)
    library = server.Library(
        audits={"1": sound},
        index=lambda folders: index(folders, "redacted"),
        report=lambda folder: b"report",
        token="t",
    )
    with server.serve(library) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield serving.server_address[1]
        serving.shutdown()
        thread.join()


def test_a_client_that_sends_its_headers_byte_by_byte_is_hung_up_on(running):
    started = time.monotonic()
    with socket.create_connection((server.ADDRESS, running)) as slow:
        slow.settimeout(0.2)
        for byte in b"GET /t/ HTTP/1.0\r\n" + b"X: y\r\n" * 1000:
            try:
                slow.sendall(bytes([byte]))
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert time.monotonic() - started < 15


def test_more_connections_than_there_is_room_for_are_closed_and_others_served_later(running):
    idle = [socket.create_connection((server.ADDRESS, running)) for _ in range(3)]
    time.sleep(0.3)
    with socket.create_connection((server.ADDRESS, running)) as one_more:
        one_more.settimeout(10)
        assert one_more.recv(1) == b""
    for connection in idle:
        connection.close()
    time.sleep(0.5)
    with urllib.request.urlopen(f"http://{server.ADDRESS}:{running}/t/", timeout=20) as answer:
        assert answer.status == 200
