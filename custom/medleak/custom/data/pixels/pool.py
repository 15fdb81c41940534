"""Work on many files at once, in their order, with little in memory."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from medleak.custom.data.data_error import DataError

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 3
"""Results a worker that may wait to be taken: enough that none of them idles."""


def in_order(
    work: Callable[[T], R], tasks: Iterable[T], *, workers: int | None = None
) -> Generator[R | DataError]:
    """``work`` of each task, in their order; a DataError is given back, not raised.

    To be closed where it may be left before its end (`contextlib.closing`): then nothing runs on.
    Threads, since decoders, encoders and files let go of Python's lock; a process would import
    everything anew. At most a few tasks a worker are begun or done ahead.

    Args:
        work: Called in threads; any error but a DataError is raised where its result would come.
        tasks: Taken in the caller's thread, as late as can be.
        workers: Threads; None: one a core that this process may use.
    """
    workers = workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(workers, thread_name_prefix="pixels") as pool:
        waiting: deque[Future[R | DataError]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(_tried, work, task))
                if len(waiting) > _AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _tried(work: Callable[[T], R], task: T) -> R | DataError:
    try:
        return work(task)
    except DataError as error:
        return error
