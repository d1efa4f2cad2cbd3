"""Work on many images, each on one thread, with results in order."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future, wait
from typing import TypeVar

from visual_memory_embedders.errors import UndecodableImage
from visual_memory_embedders.images.images import BadImage

IN_FLIGHT = 64  # images of one call: enough for many cores, few for other calls to wait for

T = TypeVar("T")


def in_order(
    workers: Executor, work: Callable[[int, bytes], T], images: Sequence[bytes]
) -> Generator[T, None, None]:
    """Yield ``work(position, image)`` for each image, in order, computed in threads of ``workers``.

    These threads must not call it. Raises the error of the first image that ``work`` fails on,
    after all work has ended; raises UndecodableImage for a BadImage.
    """

    def named(position: int, data: bytes) -> T:
        try:
            return work(position, data)
        except BadImage as bad:
            raise UndecodableImage(position, str(bad)) from None

    pending: deque[Future[T]] = deque()
    try:
        for position, data in enumerate(images):
            if len(pending) == IN_FLIGHT:
                yield pending.popleft().result()
            pending.append(workers.submit(named, position, data))
        while pending:
            yield pending.popleft().result()
    finally:
        wait([future for future in pending if not future.cancel()])
