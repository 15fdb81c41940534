"""Do many independent tasks one after another, or by a crew of processes at once.

Both ways yield what became of each task as soon as it is known, and leave it to the caller to keep
it: only the caller writes. A task that cannot be done is refused by itself. One whose process dies
is done again, once: the machine may have been short of memory. A `Crew` is of new processes of this
machine (`at_once`), or of a cluster's (`medleak.inversion.audit.workers.cluster`).
"""

import functools
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Protocol, TypeVar

from medleak.filters.imports import uncollected
from medleak.inversion.reconstruction import Progress, ProgressCallback

T = TypeVar("T")

Worker = Callable[[Any, ProgressCallback | None], Any]
"""Does one task: ``worker(task, on_progress)``."""
MakeWorker = Callable[[int], Worker]
"""Makes the worker of process 0, 1, …, in that process; goes there by pickle."""
Watch = Callable[[Any], ProgressCallback]

REFUSED = (ValueError, ArithmeticError, RuntimeError)
"""What is wrong with a task, not with medleak."""

_TOLD_EVERY = 0.5  # seconds between messages of a process about its progress


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What became of ``task``: its result, or why it was refused.

    ``crashed``: for a reason of the machine (memory, device, a killed process), not of the task.
    """

    task: T
    result: Any = None
    refused: str | None = None
    crashed: bool = False


class Gate(Protocol):
    """Lets tasks through, in the light of what the caller has kept of those before."""

    def ready(self, task: Any) -> bool:
        """Whether it is decided; a task that is not waits for others that are being done."""
        ...

    def why(self, task: Any) -> str:
        """Why ``task`` need not be done; empty: it has to be."""
        ...


def one_by_one(
    tasks: Iterable[T], make: MakeWorker, *, watch: Watch | None = None, gate: Gate | None = None
) -> Generator[Done[T]]:
    """Do ``tasks`` in this process, in their order, but for those that ``gate`` leaves out."""
    worker = make(0)
    for task in tasks:
        if gate is not None and gate.why(task):
            continue
        try:
            result = worker(task, watch(task) if watch else None)
        except REFUSED as error:
            why, crashed = " ".join(str(error).split()), isinstance(error, RuntimeError)
            yield Done(task, refused=why, crashed=crashed)
        else:
            yield Done(task, result)


class Member(Protocol):
    """One process of a crew, as seen from here; it does one task at a time."""

    number: int

    def ready(self) -> bool:
        """Whether it can be given a task; a process of a cluster waits for room there."""
        ...

    def give(self, task: Any) -> None:
        """Have it do ``task``; what becomes of it is heard by `Crew.hear`."""
        ...

    def end(self) -> None:
        """Let go of it, whatever it is doing."""
        ...


Message = tuple[str, Any]
"""``progress`` and a `Progress`; or a task's end: ``result``, ``refused`` or ``crashed`` (why),
``broken`` (a defect), ``died`` (how its process ended)."""


class Crew(Protocol):
    """Where processes come from, and how what they say is heard."""

    def hire(self, number: int) -> Member:
        """Start process ``number``."""
        ...

    def hear(self, busy: Sequence[Any]) -> Sequence[tuple[Any, Message]]:
        """Wait until some of the members ``busy`` have something to say; empty: not yet.

        Raises:
            RuntimeError: There are none, and have been none for too long.
        """
        ...


def by_crew(
    tasks: Iterable[T],
    crew: Crew,
    size: int,
    *,
    watch: Watch | None = None,
    gate: Gate | None = None,
) -> Generator[Done[T]]:
    """Do ``tasks`` by ``size`` members of ``crew`` at once, starting them in their order.

    A task whose process died is given to another, first of all; if that dies too, it is refused.

    Args:
        tasks: Go to the processes by pickle; results come back so.
        crew: Of this machine or of a cluster.
        size: At least 1.
        watch: Its callbacks are called here, about twice a second for each process.
        gate: Which tasks are left out, and which have to wait; None: none.

    Yields:
        In the order in which tasks end.

    Raises:
        RuntimeError: A worker cannot be made, or met a defect (an error not in `REFUSED`).
    """
    waiting = deque(tasks)
    again: deque[T] = deque()
    members = [crew.hire(k) for k in range(min(size, len(waiting)))]
    busy: dict[Member, tuple[T, ProgressCallback | None, bool]] = {}
    try:
        while waiting or again or busy:
            for member in members:
                if member not in busy and (waiting or again) and member.ready():
                    second = bool(again)
                    if not (found := [again.popleft()] if second else _first(waiting, gate)):
                        break
                    (task,) = found
                    busy[member] = task, watch(task) if watch else None, second
                    member.give(task)
            if not (busy or waiting or again):
                return  # all that waited was left out
            for member, (kind, content) in crew.hear(list(busy)):
                if kind == "progress":
                    if (tell := busy[member][1]) is not None:
                        tell(content)
                    continue
                task, _, second = busy.pop(member)
                if kind == "died":
                    member.end()
                    members[members.index(member)] = crew.hire(member.number)
                    if not second:
                        again.append(task)
                        continue
                yield _done(task, kind, content)
    finally:
        for member in members:
            member.end()


def _first(waiting: deque[T], gate: Gate | None) -> list[T]:
    """The first task that is to be done, taken out of ``waiting``; empty: none, or not yet."""
    if gate is None:
        return [waiting.popleft()]
    held: list[T] = []
    found: list[T] = []
    while waiting and not found:
        task = waiting.popleft()
        if not gate.ready(task):
            held.append(task)
        elif not gate.why(task):
            found.append(task)
    waiting.extendleft(reversed(held))
    return found


def at_once(
    tasks: Iterable[T],
    make: MakeWorker,
    jobs: int,
    *,
    watch: Watch | None = None,
    gate: Gate | None = None,
) -> Generator[Done[T]]:
    """Do ``tasks`` in ``jobs`` new processes of this machine; see `by_crew`.

    Processes end with the generator, and by themselves when this process is killed.

    Args:
        tasks: See `by_crew`.
        make: See `MakeWorker`. Must be importable in a new process.
        jobs: At least 1.
        watch, gate: See `by_crew`.
    """
    return by_crew(tasks, Processes(make), jobs, watch=watch, gate=gate)


def attempt(worker: Callable[[], Worker], task: Any, tell: ProgressCallback | None) -> Message:
    """Do ``task`` in a process of a crew, and say what became of it.

    ``worker`` makes the worker, or has it: here, where an error has a task to be told with.
    """
    try:
        # As bytes: torch would else pass tensors by shared memory, which containers lack.
        return "result", pickle.dumps(worker()(task, tell))
    except REFUSED as error:
        kind = "crashed" if isinstance(error, RuntimeError) else "refused"
        return kind, " ".join(str(error).split())
    except Exception as error:
        return "broken", f"{type(error).__name__}: {error}"


def _done(task: T, kind: str, content: Any) -> Done[T]:
    if kind == "broken":
        raise RuntimeError(content)
    if kind == "result":
        return Done(task, pickle.loads(content))  # noqa: S301 -- from our own process
    if kind == "died":
        why = f"The process that worked on it died, and so did a second one ({content})"
        return Done(task, refused=f"{why}. Run the same command again.", crashed=True)
    return Done(task, refused=content, crashed=kind == "crashed")


class Processes:
    """A `Crew` of new processes of this machine."""

    def __init__(self, make: MakeWorker) -> None:
        """``make`` goes to each of them by pickle."""
        self._make = make

    def hire(self, number: int) -> "_Process":
        """Start one; started one by one, as most of the start is imports."""
        return _Process(self._make, number)

    def hear(self, busy: Sequence["_Process"]) -> list[tuple["_Process", Message]]:
        """One message of each that has one; waits for the first."""
        pipes = {p.pipe: p for p in busy}
        found = [pipes[pipe] for pipe in wait(list(pipes))]  # pyright: ignore[reportArgumentType]
        return [(process, process.hear()) for process in found]


class _Process:
    """The near end of one process."""

    def __init__(self, make: MakeWorker, number: int) -> None:
        self.number = number
        context = multiprocessing.get_context("spawn")  # fork copies locks that torch may hold
        self.pipe, far = context.Pipe()
        # As bytes, which are read when the process is ready for what they import.
        target = {"target": _serve, "args": (far, pickle.dumps(make), number)}
        self._process = context.Process(**target, daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        far.close()

    def ready(self) -> bool:
        return True

    def give(self, task: Any) -> None:
        with suppress(BrokenPipeError):  # it died before: `hear` says so
            self.pipe.send(task)

    def hear(self) -> Message:
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            return "died", _death(self._process.exitcode)

    def end(self) -> None:
        self.pipe.close()
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _death(code: int | None) -> str:
    what = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    hint = "; memory may be short: choose fewer --jobs" if code == -signal.SIGKILL else ""
    return f"{what}{hint}"


def _serve(pipe: Connection, make: bytes, number: int) -> None:
    """The far end: do what comes through ``pipe`` until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    threading.Thread(target=_die_with_parent, daemon=True).start()
    worker = functools.cache(lambda: made(make, number))
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        message = attempt(worker, task, _teller(pipe))
        try:
            pipe.send(message)
        except OSError:  # nobody is interested any more
            return


def made(make: bytes, number: int) -> Worker:
    """The worker of process ``number``, in that process; ``make`` is a pickled `MakeWorker`."""
    with uncollected():
        return pickle.loads(make)(number)  # noqa: S301 -- from our own process


def _teller(pipe: Connection) -> ProgressCallback:
    told = 0.0

    def tell(state: Progress) -> None:
        nonlocal told
        if (now := time.monotonic()) - told >= _TOLD_EVERY:
            told = now
            with suppress(OSError):
                pipe.send(("progress", replace(state, images=None)))

    return tell


def _die_with_parent() -> None:
    """Else an attack of minutes would go on for nobody after a kill of the parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A process that is started here ignores Ctrl-C from its first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
