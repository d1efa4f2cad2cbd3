"""Many images are worked on at once, each by one thread, and come out in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from typing import TypeVar

IN_FLIGHT = 64  # of one call: enough for any machine's cores, and other calls wait for few

T = TypeVar("T")


def in_order(
    workers: Executor, work: Callable[[int, bytes], T], images: Sequence[bytes]
) -> Iterator[T]:
    """What ``work`` makes of each position and image; not to be called from a worker's thread.

    Raises what ``work`` raises for the first image, once nothing runs any more.
    """
    pending: deque[Future[T]] = deque()
    try:
        for position, data in enumerate(images):
            if len(pending) == IN_FLIGHT:
                yield pending.popleft().result()
            pending.append(workers.submit(work, position, data))
        while pending:
            yield pending.popleft().result()
    finally:
        wait([future for future in pending if not future.cancel()])
