"""Two processes of a site, killed at random moments: no release is lost or accounted for twice."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.places import ROOT
from tests.security.effort import cases

from medleak.filters import storage
from medleak.filters.privacy import ledger, witness

KILLS = cases(12, 500)
CLIENT = """
    import os, sys
    from pathlib import Path
    import numpy as np
    from medleak.filters import storage
    from medleak.filters.adapters import ClippedGaussian, PrivacyLedger
    from medleak.filters.privacy import accounting
    from tests.filters.sites import Site

    root, sink, job = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    site, size = Site(root), 20_000
    state = {"w": np.ones(size, np.float32)}
    accounting.epsilon([accounting.gaussian(3.0)], 1e-5)  # its import takes a second
    storage.read
    import safetensors.numpy

    def serve():
        done = [int(p.stem.split("_")[1]) for p in sink.glob(f"{job}_*.sent")]
        round_number = max(done, default=-1)
        round_number += not (done and os.urandom(1)[0] < 80)  # or the last is asked for again
        while True:
            chain = [ClippedGaussian(1.0, 20.0), PrivacyLedger(1e-5)]
            update = {"w": np.random.default_rng().normal(size=size).astype(np.float32)}
            try:
                sent = site.send(chain, site.result(update), state, round_number=round_number,
                                 job=job).data
            except Exception as e:
                storage.write(sink / f"{job}_{round_number}_{os.getpid()}.refused", str(e).encode())
                return
            name = f"{job}_{round_number:06d}_{os.urandom(4).hex()}"
            storage.save(sink / f"{name}.sent", sent)
            round_number += 1

    print("ready", flush=True)
    for line in sys.stdin:  # one child a line, killed by the test
        child = os.fork()
        if child == 0:
            serve()
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)
"""


class Server:
    """A process that has imported everything, and forks one client after the other."""

    def __init__(self, root: Path, sink: Path, job: str) -> None:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(CLIENT), root, sink, job],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            cwd=ROOT,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def start(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.line())

    def kill(self, child: int) -> None:
        os.kill(child, signal.SIGKILL)
        assert self.line() == "gone"

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.mark.timeout(3600)
def test_a_site_killed_again_and_again_accounts_for_each_release_once(tmp_path):
    root, sink = tmp_path / "site", tmp_path / "sink"
    root.mkdir()
    sink.mkdir()
    chance = random.Random(11)
    servers = [Server(root, sink, job) for job in ("job-a", "job-b")]
    try:
        for _ in range(-(-KILLS // len(servers))):
            children = [server.start() for server in servers]
            time.sleep(0.02 + 0.5 * chance.random())
            for server, child in zip(servers, children, strict=True):
                server.kill(child)
                time.sleep(0.05 * chance.random())
            ledger.read(root / ledger.FILE_NAME)
    finally:
        for server in servers:
            server.close()
    entries = ledger.read(root / ledger.FILE_NAME).entries
    accounted = Counter((e.spend.job, e.spend.round) for e in entries)
    released = {(e.spend.job, e.spend.round): e.spend.released_sha256 for e in entries}
    sent = list(sink.glob("*.sent"))
    refused = [p.read_text() for p in sink.glob("*.refused")]
    assert refused == []
    assert [key for key, times in accounted.items() if times > 1] == []
    assert sent, "nothing left the site: the kills came too early to prove anything"
    for path in sent:
        job, number, _ = path.stem.split("_")
        copy = tmp_path / "copy.safetensors"
        assert storage.save(copy, storage.read(path)) == released[job, int(number)], path.name
    kept = witness.folder_of(root / ledger.FILE_NAME)
    assert len(list(kept.glob("*.safetensors"))) <= 8
    print(json.dumps({"kills": KILLS, "sent": len(sent), "entries": len(entries)}))
