"""Records that a stranger changed: one line says what is wrong, in bounded time and memory."""

import hashlib
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.places import ROOT
from tests.security.effort import cases

from medleak.custom import record
from medleak.custom.record import (
    InputSpec,
    Manifest,
    ModelSpec,
    RecordError,
    TaskSpec,
    UpdateInfo,
    utc_now,
)

MUTATED = cases(250, 5000)
ODD = (
    *(b"null", b"true", b"[]", b"{}", b"-1", b"1e999", b"NaN", b"9" * 400, b'"\\ud800"', b"\x00"),
    *(b"../../x", b"[" * 3000, b'{"a":' * 2000, b'"BF16"', b'"BOOL"', b'"U64"', b"\xff\xfe"),
    *(b"18446744073709551616", b'"I8"', b"0.5", b'"C64"', b"1e5"),
)


def write(root: Path) -> None:
    model = ModelSpec(path="medleak.custom.small_networks.lenet", args={"num_classes": 2})
    record.write_manifest(
        root,
        Manifest(
            job="j",
            created=utc_now(),
            model=model,
            task=TaskSpec(num_classes=2),
            input=InputSpec(spatial_size=(32, 32), channels=1),
        ),
    )
    state = {
        "a.weight": np.full((4, 3), 0.5, np.float32),
        "bn.running_var": np.ones(3, np.float32),
        "bn.num_batches_tracked": np.array(0),
    }
    update = {n: np.asarray(v * 0 + 1, v.dtype) for n, v in state.items()}
    for number in (0, 1):
        for site in ("site-1", "site-2"):
            info = UpdateInfo(
                **{"round": number, "site": site, "time": utc_now(), "n_images": 1, "n_steps": 1},
                **{"batch_size": 1, "local_epochs": 1, "lr": 0.01},
            )
            record.write_record(root, info, state, update)


def mutate(data: bytes, chance: random.Random) -> bytes:
    new = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if not new:
            break
        at = chance.randrange(len(new))
        kind = chance.randrange(7)
        if kind == 0:
            new[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del new[at : at + chance.randrange(1, 30)]
        elif kind == 2:
            new[at:at] = chance.randbytes(chance.randrange(1, 20))
        elif kind == 3:
            new[at:at] = chance.choice(ODD)
        elif kind == 4:
            new = new[:at]
        elif kind == 5:
            new[at : at + 8] = chance.choice((bytes(8), b"\xff" * 8, b"\x00\x00\x00\x40" * 2))
        else:
            whole = rb'-?\d+(\.\d+)?|"[^"]*"|true|false|null'
            if found := list(re.finditer(whole, bytes(new[:4000]))):
                place = chance.choice(found)
                new[place.start() : place.end()] = chance.choice(ODD)
    return bytes(new)


def hash_again(root: Path) -> None:
    for sidecar in root.glob("round_*/*.json"):
        try:
            text = json.loads(sidecar.read_bytes())
            files = (sidecar.parent / "global.safetensors", sidecar.with_suffix(".safetensors"))
            digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
            text["sha256"] = dict(zip(("global", "update"), digests, strict=True))
            sidecar.write_text(json.dumps(text))
        except (OSError, ValueError, TypeError, RecursionError):
            continue


@pytest.mark.timeout(1800)
def test_a_mutated_record_is_read_or_refused_in_one_line(tmp_path):
    base, copy, chance = tmp_path / "base", tmp_path / "copy", random.Random(5)
    write(base)
    names = [p.relative_to(base) for p in sorted(base.rglob("*")) if p.is_file()]
    refused = 0
    for _ in range(MUTATED):
        shutil.copytree(base, copy)
        name = chance.choice(names)
        old = (copy / name).read_bytes()
        (copy / name).write_bytes(mutate(old, chance))
        if rehashed := chance.random() < 0.6:
            hash_again(copy)
        try:
            record.read_manifest(record.find_records(copy))
            for number, site in record.list_updates(copy):
                read = record.read_record(copy, number, site)
                for state in (read.global_state, read.update):
                    assert all(np.isfinite(v).all() for v in state.values())
            changed = (copy / name).read_bytes() != old
            assert not (changed and name.suffix == ".safetensors" and not rehashed), name
        except RecordError:
            refused += 1
        shutil.rmtree(copy)
    assert refused > MUTATED // 4


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def link_out(path: Path) -> None:
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def sparse(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(40 * 2**30)


def sparse_with_a_header(path: Path) -> None:
    size = 30 * 2**30
    head = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}})
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head.encode())
        file.truncate(8 + len(head) + size)


def deep(path: Path) -> None:
    path.write_bytes(b"[" * 900_000)


def huge(path: Path) -> None:
    path.write_bytes(b'{"a": "' + b"x" * 20_000_000 + b'"}')


EDITS = (fifo, device, link_out, folder, sparse, sparse_with_a_header, deep, huge)
FILES = (
    "manifest.json",
    "round_0000/site-1.json",
    "round_0000/site-1.safetensors",
    "round_0000/global.safetensors",
)
VERIFY = """
import resource, sys
from pathlib import Path
from medleak.custom import record
root = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (3 * 2**29, 3 * 2**29))
for edited in root.iterdir():
    try:
        record.read_manifest(edited / "records")
        said = [why for *_, why in record.verify(edited / "records") if why]
    except record.RecordError as error:
        said = [str(error)]
    print(edited.name, "|", len(said), "|", said[0].replace("\\n", "?") if said else "")
"""


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_plain_small_file_is_refused_at_once(name, tmp_path):
    for edit in EDITS:
        write(tmp_path / edit.__name__ / "records")
        edit(tmp_path / edit.__name__ / "records" / name)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", VERIFY, str(tmp_path)],
        **{"capture_output": True, "text": True, "timeout": 60, "check": False, "cwd": ROOT},
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" | ", 1) for line in done.stdout.splitlines())
    for edit in EDITS:
        assert not lines[edit.__name__].startswith("0"), f"{edit.__name__} passed"


def test_a_folder_that_is_a_link_out_is_not_followed(tmp_path):
    write(tmp_path / "records")
    (tmp_path / "records/round_0000").rename(tmp_path / "elsewhere")
    (tmp_path / "records/round_0000").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="behind a link"):
        record.read_record(tmp_path / "records", 0, "site-1")


def test_a_record_is_for_its_owner_only_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        write(tmp_path / "run" / "records")
    finally:
        os.umask(before)
    for made in (tmp_path / "run").rglob("*"):
        wanted = 0o700 if made.is_dir() else 0o600
        assert stat.S_IMODE(made.stat().st_mode) == wanted, made


def test_images_larger_than_any_radiograph_are_refused_when_read(tmp_path):
    write(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(re.sub(r"\[\s*32,\s*32\s*\]", "[1000000, 1000000]", path.read_text()))
    with pytest.raises(RecordError, match="1000000 x 1000000 pixels"):
        record.read_manifest(tmp_path)
