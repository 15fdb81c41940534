"""The cases of an audit on many machines: processes of a Ray cluster (https://docs.ray.io).

Only where they run differs from those of `medleak.inversion.audit.workers.pool`: plan, order of the
cases, who writes, and results are the same. Needs the extra ``cluster``.
"""

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import pickle
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medleak.inversion.audit.workers.pool import MakeWorker, Message, Worker, attempt, made
from medleak.inversion.reconstruction import Progress

LOCAL = "local"
_DECIDE = ("torch", "torchvision", "monai", "numpy", "scipy", "scikit-learn", "simpleitk", "ray")
"""Packages that decide an attack's figures, or whether processes understand each other."""
_TOLD_EVERY = 0.5  # seconds between questions about a case's progress
_START = 120.0  # seconds within which a process starts, imports of a busy machine included


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a case is given of the cluster; Ray starts no more at once than fit.

    Attributes:
        cpus: Threads of its process.
        gpus: GPUs, or the part of one that it shares.
        memory_gb: Kept free for it; None: whatever there is.
    """

    cpus: int = 1
    gpus: float = 0.0
    memory_gb: float | None = None


class Cluster:
    """A connection to a cluster whose processes were seen to run the same code as this one."""

    def __init__(self, ray: Any, share: Share, size: int) -> None:
        """See `connected`."""
        self._ray, self._share, self.size = ray, share, size
        self._own = versions()
        self._seats: dict[int, _Seat] = {}
        self._alone_since = time.monotonic()

    def require(self, paths: Sequence[Path]) -> None:
        """Start the processes, and see that each can read ``paths``.

        Raises:
            ValueError: One runs other code or other versions, or does not see a path; or none
                started.
        """
        for number in range(self.size):
            self._seat(number)
        deadline = time.monotonic() + _START
        while not (up := [s for s in self._seats.values() if s.ready()]):
            if time.monotonic() > deadline:
                raise ValueError(
                    f"No process of the cluster started within {_START:g} s: it has no free room "
                    "for one. See `ray status`, or give a case fewer --threads."
                )
            time.sleep(0.1)
        texts = [str(path) for path in paths]
        for seat in up:
            if missing := self._ray.get(seat.actor.missing.remote(texts)):
                raise ValueError(
                    f"A process of the cluster, on {seat.node}, does not see {missing[0]}: put "
                    "records, lists and the audit directory where all nodes have them under one "
                    "path."
                )

    def crew(self, make: MakeWorker) -> "_Crew":
        """The cluster's processes, as workers of one kind."""
        return _Crew(self, pickle.dumps(make))

    def _seat(self, number: int) -> "_Seat":
        if number not in self._seats:
            self._seats[number] = _Seat(self._ray, self._share, number, self._own)
        return self._seats[number]

    def close(self) -> None:
        """End its processes, whatever they are doing."""
        for seat in self._seats.values():
            seat.kill()


@contextmanager
def connected(address: str, share: Share, size: int | None = None) -> Iterator[Cluster]:
    """A cluster, for as long as the block runs; processes that it started there end with it.

    Args:
        address: As of ``ray start``, ``host:port``; `LOCAL`: one of this machine, made for the
            block. ``auto``: the one that this machine is a node of.
        share: What each case is given.
        size: Cases at once; None: as many as fit.

    Raises:
        ValueError: Ray is not installed, or there is no such cluster, or it has no room.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "--cluster needs Ray, which is not installed: pip install 'medleak[cluster]'. Without "
            "it, --jobs uses the cores of this machine."
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to Ray's makers
    # Ray's monitor writes deaths of processes into this one's output; they are told as refusals.
    os.environ.setdefault("RAY_LOG_TO_DRIVER_EVENT_LEVEL", "NONE")
    ray = importlib.import_module("ray")
    where: dict[str, Any] = {"address": address}
    if address == LOCAL:
        where = {"include_dashboard": False, "num_cpus": os.cpu_count(), "address": LOCAL}
    try:
        ray.init(**where, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"There is no cluster at {address!r} that could be joined ({_line(error)}). Start one "
            f"with `ray start --head`, or choose --cluster {LOCAL}."
        ) from error
    try:
        fit = _fit(ray.cluster_resources(), share)
        if not fit:
            raise ValueError(
                f"The cluster at {address!r} has no room for one case of {share.cpus} CPUs, "
                f"{share.gpus:g} GPUs and {share.memory_gb or 0:g} GB: it has "
                f"{_said(ray.cluster_resources())}."
            )
        with contextlib.closing(Cluster(ray, share, min(size or fit, fit))) as cluster:
            yield cluster
    finally:
        ray.shutdown()


def versions() -> dict[str, str]:
    """What decides a process's results: Python, packages, and medleak's own code by its hash."""
    found = {"python": platform.python_version(), "medleak": _source()}
    for name in _DECIDE:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@functools.cache
def _source() -> str:
    """SHA-256 of all of medleak's modules, by name and content."""
    digest = hashlib.sha256()
    for package in ("medleak.filters", "medleak.custom", "medleak.inversion"):
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(place).rglob("*.py")):
                name = f"{package}/{path.relative_to(place).as_posix()}"
                digest.update(hashlib.sha256(name.encode() + b"\0" + path.read_bytes()).digest())
    return digest.hexdigest()


class _Crew:
    """The crew of one audit, on seats that stay for the next."""

    def __init__(self, cluster: Cluster, make: bytes) -> None:
        self._cluster, self._make = cluster, make

    def hire(self, number: int) -> "_Member":
        return _Member(self._cluster._seat(number), self._make, self._cluster)

    def hear(self, busy: "Sequence[_Member]") -> "list[tuple[_Member, Message]]":
        ray = self._cluster._ray
        if not busy:
            self._wait_for_one()
            return []
        self._cluster._alone_since = time.monotonic()
        doing = {member.doing: member for member in busy}
        asked = {ref: member for member in busy if (ref := member.ask()) is not None}
        refs = [*doing, *asked]
        if not ray.wait(refs, num_returns=1, timeout=_TOLD_EVERY)[0]:
            return []
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        # Progress first: a task that has ended has none.
        told = [(asked[r], ("progress", s)) for r in ready if r in asked and (s := asked[r].said())]
        return told + [(doing[ref], _ended(ray, ref)) for ref in ready if ref in doing]

    def _wait_for_one(self) -> None:
        if time.monotonic() - self._cluster._alone_since > _START:
            raise RuntimeError(
                f"For {_START:g} s no process of the cluster could be started: its nodes are gone "
                "or taken. What is done is kept; the same command goes on from there."
            )
        time.sleep(0.1)


class _Member:
    """One process of the cluster, at work for one audit."""

    def __init__(self, seat: "_Seat", make: bytes, cluster: Cluster) -> None:
        self.number, self._seat, self._make, self._cluster = seat.number, seat, make, cluster
        self.doing: Any = None
        self._asked: Any = None
        self._asked_at = 0.0

    def ready(self) -> bool:
        return self._seat.ready()

    def give(self, task: Any) -> None:
        self.doing, self._asked = self._seat.actor.do.remote(self._make, task), None

    def ask(self) -> Any:
        """A question about the progress, if it is time for one or one is open."""
        if self._asked is None and time.monotonic() - self._asked_at > _TOLD_EVERY:
            self._asked, self._asked_at = self._seat.actor.state.remote(), time.monotonic()
        return self._asked

    def said(self) -> Progress | None:
        asked, self._asked = self._asked, None
        with suppress(self._cluster._ray.exceptions.RayError):  # it died: its task says so
            return self._cluster._ray.get(asked)
        return None

    def end(self) -> None:
        """Whatever it does is for nobody; idle, its seat stays for the next audit."""
        if self.doing is not None:
            self._cluster._seats.pop(self.number, None)
            self._seat.kill()


class _Seat:
    """A place for a process on the cluster, and the process when it runs."""

    def __init__(self, ray: Any, share: Share, number: int, own: Mapping[str, str]) -> None:
        self._ray, self.number, self._own, self.node = ray, number, own, ""
        memory = None if share.memory_gb is None else int(share.memory_gb * 1e9)
        self._needs = {"num_cpus": share.cpus, "num_gpus": share.gpus, "memory": memory}
        self._died = False
        self._start()

    def _start(self) -> None:
        # Two at a time: a case, and questions about it.
        far = self._ray.remote(_Far).options(**self._needs, max_concurrency=2)
        self.actor = far.remote(self.number)
        self._hello = self.actor.hello.remote()

    def ready(self) -> bool:
        """Whether it runs, with the same code and versions; not before it has said so.

        One that dies in its start, as of a node that goes away, is started once more.

        Raises:
            ValueError: It cannot start, or is another medleak.
        """
        if self.node:
            return True
        if not self._ray.wait([self._hello], timeout=0)[0]:
            return False
        try:
            node, theirs = self._ray.get(self._hello)
        except self._ray.exceptions.RayError as error:
            if not self._died:
                self._died = True
                self._start()
                return False
            raise ValueError(
                f"A process of the cluster cannot start ({_line(error)}). Install the same medleak "
                "on every node, and start Ray from that environment."
            ) from error
        if other := _difference(self._own, theirs):
            raise ValueError(
                f"A process of the cluster, on {node}, has {other}: its figures would not be "
                "comparable with those of others. Install the same versions on every node."
            )
        self.node = node
        return True

    def kill(self) -> None:
        with suppress(Exception):  # it is gone already, or the cluster is
            self._ray.kill(self.actor)


class _Far:
    """What runs on the cluster: one process, one case at a time."""

    def __init__(self, number: int) -> None:
        self._number, self._state = number, None
        self._worker = functools.lru_cache(maxsize=1)(self._made)

    def hello(self) -> tuple[str, dict[str, str]]:
        return platform.node(), versions()

    def missing(self, paths: Sequence[str]) -> list[str]:
        return [path for path in paths if not Path(path).exists()]

    def do(self, make: bytes, task: Any) -> Message:
        self._state = None
        return attempt(lambda: self._worker(make), task, self._keep)

    def state(self) -> Progress | None:
        return self._state

    def _keep(self, state: Progress) -> None:
        self._state = replace(state, images=None)

    def _made(self, make: bytes) -> Worker:
        return made(make, self._number)


def _ended(ray: Any, ref: Any) -> Message:
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        return "broken", _line(error)
    except ray.exceptions.RayError as error:
        return "died", _line(error)


def _fit(has: Mapping[str, float], share: Share) -> int:
    """How many cases have room at once, by the cluster's sums."""
    fit = has.get("CPU", 0.0) // share.cpus
    if share.gpus:
        fit = min(fit, has.get("GPU", 0.0) // share.gpus)
    if share.memory_gb:
        fit = min(fit, has.get("memory", 0.0) // (share.memory_gb * 1e9))
    return int(fit)


def _said(has: Mapping[str, float]) -> str:
    memory = has.get("memory", 0.0) / 1e9
    return f"{has.get('CPU', 0):g} CPUs, {has.get('GPU', 0):g} GPUs and {memory:.0f} GB"


def _difference(own: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    for name in sorted({*own, *theirs}):
        if own.get(name) != theirs.get(name):
            if name == "medleak":
                return "another medleak than this process, by its files"
            return f"{name} {theirs.get(name, 'not at all')}, and this process {own.get(name)}"
    return ""


def _line(error: Exception) -> str:
    """The first line of what Ray says that is not a heading."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
