"""Do many independent tasks one after another, or in several processes at once.

Both ways yield what became of each task as soon as it is known, and leave it to the caller to keep
it: only the caller writes. A task that cannot be done, or whose process dies, is refused by itself.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

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


def one_by_one(
    tasks: Iterable[T], make: MakeWorker, *, watch: Watch | None = None
) -> Generator[Done[T]]:
    """Do ``tasks`` in this process, in their order."""
    worker = make(0)
    for task in tasks:
        try:
            result = worker(task, watch(task) if watch else None)
        except REFUSED as error:
            why, crashed = " ".join(str(error).split()), isinstance(error, RuntimeError)
            yield Done(task, refused=why, crashed=crashed)
        else:
            yield Done(task, result)


def at_once(
    tasks: Iterable[T], make: MakeWorker, jobs: int, *, watch: Watch | None = None
) -> Generator[Done[T]]:
    """Do ``tasks`` in ``jobs`` new processes, starting them in their order.

    Processes end with the generator, and by themselves when this process is killed.

    Args:
        tasks: Go to the processes by pickle; results come back so.
        make: See `MakeWorker`. Must be importable in a new process.
        jobs: At least 1.
        watch: Its callbacks are called here, about twice a second for each process.

    Yields:
        In the order in which tasks end.

    Raises:
        RuntimeError: A worker cannot be made, or met a defect (an error not in `REFUSED`).
    """
    waiting = deque(tasks)
    # Started one by one, as most of the start is imports.
    crew = [_Process(make, k) for k in range(min(jobs, len(waiting)))]
    try:
        while waiting or any(p.task is not None for p in crew):
            for process in crew:
                if process.task is None and waiting:
                    process.give(waiting.popleft(), watch)
            pipes = {p.pipe: p for p in crew if p.task is not None}
            for pipe in wait(list(pipes)):
                process = pipes[pipe]  # pyright: ignore[reportArgumentType] -- we gave connections
                done = process.hear()
                if done is not None:
                    yield done
                    if process.dead:
                        process.end()
                        crew[crew.index(process)] = _Process(make, process.number)
    finally:
        for process in crew:
            process.end()


class _Process:
    """The near end of one process."""

    def __init__(self, make: MakeWorker, number: int) -> None:
        self.number, self.task, self.dead = number, None, False
        self._watch: ProgressCallback | None = None
        context = multiprocessing.get_context("spawn")  # fork copies locks that torch may hold
        self.pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, make, number), daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        far.close()

    def give(self, task: Any, watch: Watch | None) -> None:
        self.task, self._watch = task, watch(task) if watch else None
        with suppress(BrokenPipeError):  # it died before: `hear` says so
            self.pipe.send(task)

    def hear(self) -> Done[Any] | None:
        """Take one message; the task's end, if it was that."""
        content: Any
        try:
            kind, content = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            kind, content = "died", None
        if kind == "progress":
            if self._watch is not None:
                self._watch(content)
            return None
        task, self.task = self.task, None
        if kind == "broken":
            raise RuntimeError(content)
        if kind in ("refused", "crashed"):
            return Done(task, refused=content, crashed=kind == "crashed")
        if kind == "died":
            self.dead = True
            self._process.join()
            return Done(task, refused=_death(self._process.exitcode), crashed=True)
        return Done(task, pickle.loads(content))  # noqa: S301 -- from our own process

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
    return f"The process that worked on it died ({what}){hint}. Run the same command again."


def _serve(pipe: Connection, make: MakeWorker, number: int) -> None:
    """The far end: do what comes through ``pipe`` until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    threading.Thread(target=_die_with_parent, daemon=True).start()
    worker: Worker | None = None
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            # Made here, where an error has a task to be told with.
            worker = worker or make(number)
            result = worker(task, _teller(pipe))
            # As bytes: torch would else pass tensors by shared memory, which containers lack.
            message = "result", pickle.dumps(result)
        except REFUSED as error:
            kind = "crashed" if isinstance(error, RuntimeError) else "refused"
            message = kind, " ".join(str(error).split())
        except Exception as error:
            message = "broken", f"{type(error).__name__}: {error}"
        try:
            pipe.send(message)
        except OSError:  # nobody is interested any more
            return


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
