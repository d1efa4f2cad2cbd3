"""Searches of one memory: alone at once, and together those that arrive while others are done."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic

from visual_memory_index import Memory, Neighbors, Query
from visual_memory_service.runtime.measures import (
    SEARCH_QUERIES,
    SEARCH_SECONDS,
    SEARCH_WAIT_SECONDS,
)
from visual_memory_service.runtime.timeline import Batch, Part, Timeline, add_part, timeline

TOGETHER = 64  # vectors: more add no throughput and make other queries wait
PART_MIN, PART = 4, 16  # vectors of one query beside others: fewer are searched at a higher price
PATIENCE = 3  # times as long as a search, at most, is the pause after it
IN_VAIN_MAX = 5  # pauses in vain in a row that count: after n, the next 2^n - 1 batches do not wait
ONE_STATE = 256  # vectors of one query whose answers are of one state of the memory
SEARCH_SECONDS_MAX = 0.05  # in which a hundred callers are answered, and ask again


@dataclass(eq=False, slots=True)
class Asked:
    """A query with its ``answer``; the search for the first ``begun`` of its vectors has begun.

    ``found`` has what was found until now. It ``waits_since`` a time of ``time.monotonic``, and
    ``timeline`` is that of its call. If nobody waits any more, the answer is cancelled. ``idle`` is
    set while no search for it is under way. It is searched ``whole`` if one head answers all of it,
    or if the memory changed between two parts of no more than ONE_STATE vectors: then again.
    """

    query: Query
    answer: asyncio.Future[Neighbors]
    waits_since: float
    timeline: Timeline | None
    whole: bool = False
    begun: int = 0
    found: list[Neighbors] = field(default_factory=list)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.whole = self.query.head or self.query.means
        self.idle.set()

    @property
    def left(self) -> int:
        """The number of vectors whose search has not begun."""
        return len(self.query.vectors) - self.begun

    @property
    def over(self) -> bool:
        """True if it is answered, or nobody waits: then no more is searched for it."""
        return self.answer.done()

    def begin(self, most: int) -> Query:
        """Return the query for the next ``most`` vectors, or for all if it is searched whole."""
        query = self.query
        self.idle.clear()
        start, self.begun = self.begun, self.begun + (self.left if self.whole else most)
        if start == 0 and not self.left:
            return query
        return replace(query, vectors=query.vectors[start : self.begun])

    def end(self, found: Neighbors, batch: Batch) -> None:
        """Take what was found, in a ``batch``, for the vectors that were begun last."""
        self.idle.set()
        SEARCH_WAIT_SECONDS.add(batch.began - self.waits_since)
        if self.timeline is not None:
            self.timeline.add(Part(self.timeline, "wait", self.waits_since, batch.began))
            self.timeline.add(Part(self.timeline, "search", batch.began, batch.ended, batch))
        self.waits_since = batch.ended
        self.found.append(found)
        if found.shown != self.found[0].shown and len(self.query.vectors) <= ONE_STATE:
            self.whole, self.begun = True, 0
            self.found.clear()
        elif not self.left and not self.over:
            self.answer.set_result(Neighbors.joined(self.found))

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self.idle.set()
        if not self.over:
            self.answer.set_exception(error)

    async def until_idle(self) -> None:
        """Return once no search for it is under way, also if cancelled meanwhile."""
        while not self.idle.is_set():
            with suppress(asyncio.CancelledError):
                await self.idle.wait()


class Searches:
    """The searches of one memory: one at a time, for some vectors of each caller that waits.

    One that is quick and has nothing to wait for is done at once, in the calling thread. Others
    are done in a thread, and those that arrive meanwhile are the next batch. Large queries take
    part by part, in turn with others, so that these wait for a part of them alone. If the memory
    changes between two parts, a query of up to ONE_STATE vectors is searched again, all at once;
    the parts of a larger one may be of different states.

    Callers answered together often ask again together, and one scan for all costs half of two. So
    the next batch waits for as many callers as there were last, as long as they keep coming: until
    nobody came for as long as their search took, and at most PATIENCE times as long. Callers who
    pause between two calls come later: where waiting was in vain, the next few batches do not wait,
    and twice as many each time. Nobody waits for callers who gave up.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._waiting = deque[Asked]()
        self._expected, self._missing = 0, 0  # callers of the next batch, as its pause begins
        self._stay = set[
            Asked
        ]()  # what they asked last; kept in a pause alone: an erasure would find it
        self._in_vain = 0  # pauses, one after another
        self._hasty = 0  # batches that do not wait
        self._searching = False
        self._pause: asyncio.TimerHandle | None = None
        self._came = 0.0  # when the last one came, of ``time.monotonic``, as the event loop has it

    async def nearest(self, query: Query) -> Neighbors:
        """Return the nearest entries of a query, as ``Memory.nearest`` does, batched with others.

        If cancelled, waits until a search that has begun has ended.
        """
        if not self._searching and not self._waiting:
            began = monotonic()
            found = self._memory.nearest_at_once(query)
            if found is not None:
                SEARCH_WAIT_SECONDS.add(0.0)
                count(Batch(began, monotonic(), len(query.vectors)))
                add_part("search", began)
                if self._pause is not None:
                    self._expect_one_less()
                return found
        loop = asyncio.get_running_loop()
        self._came = monotonic()
        asked = Asked(query, loop.create_future(), self._came, timeline.get())
        self._waiting.append(asked)
        self._go_on_if_all_came()
        try:
            return await asked.answer
        except asyncio.CancelledError:
            with suppress(ValueError):  # it does not wait
                self._waiting.remove(asked)
            if self._pause is not None and asked in self._stay:
                self._stay.remove(asked)
                self._expect_one_less()
            await asked.until_idle()
            raise

    def _expect_one_less(self) -> None:
        self._expected -= 1
        self._go_on_if_all_came()

    def _go_on_if_all_came(self) -> None:
        if self._pause is None:
            self._go_on()
        elif len(self._waiting) >= self._expected:
            self._end_pause()

    def _go_on(self) -> None:
        """Begin the next search, unless one is under way or nobody waits."""
        loop = asyncio.get_running_loop()
        while not self._searching and (batch := self._next_batch()):
            queries = list(batch.values())
            try:
                searching = loop.run_in_executor(None, self._memory.nearest, queries)
            except Exception as error:  # each waiting call reports it
                for asked in batch:
                    asked.fail(error)
            else:
                self._searching = True
                vectors = sum(len(query.vectors) for query in queries)
                searching.add_done_callback(partial(self._answer, [*batch], vectors, monotonic()))

    def _next_batch(self) -> dict[Asked, Query]:
        """Take those whose turn it is out of the queue, each with the query to search for now."""
        self._waiting = deque(asked for asked in self._waiting if not asked.over)
        batch, vectors = dict[Asked, Query](), 0
        waiting = sum(asked.left for asked in self._waiting)
        while self._waiting and vectors < TOGETHER:
            asked = self._waiting.popleft()
            batch[asked] = asked.begin(part_of(asked.left, waiting - asked.left))
            vectors += len(batch[asked].vectors)
        return batch

    def _answer(
        self,
        batch: list[Asked],
        vectors: int,
        began: float,
        searching: asyncio.Future[list[Neighbors]],
    ) -> None:
        self._searching = False
        now = monotonic()
        done = Batch(began, now, vectors)
        count(done)
        try:
            found = searching.result()
        except BaseException as error:
            for asked in batch:
                asked.fail(error)
        else:
            for asked, each in zip(batch, found, strict=True):
                try:
                    asked.end(each, done)
                except Exception as error:  # such as of no memory
                    asked.fail(error)
        self._waiting.extend(asked for asked in batch if not asked.over)
        last = {*batch, *self._waiting}
        stay = {asked for asked in last if not asked.answer.cancelled()}
        self._expected = min(TOGETHER, len(stay))
        self._missing = self._expected - len(self._waiting)
        if self._hasty or self._missing <= 0:
            self._hasty = max(self._hasty - 1, 0)
            self._go_on()
            return
        self._stay = stay
        seconds = min(now - began, SEARCH_SECONDS_MAX)
        self._came = now
        self._wait(seconds, now + PATIENCE * seconds)

    def _wait(self, seconds: float, until: float) -> None:
        """Go on once all expected callers wait, or none came for some ``seconds``, or at a time."""
        loop = asyncio.get_running_loop()
        end = min(self._came + seconds, until)
        if monotonic() < end:
            self._pause = loop.call_at(end, self._wait, seconds, until)
        else:
            self._end_pause()

    def _end_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._stay = set()
        lacking = self._expected - len(self._waiting)
        self._in_vain = min(self._in_vain + 1, IN_VAIN_MAX) if lacking > self._missing / 2 else 0
        self._hasty = 2**self._in_vain - 1
        self._go_on()


def part_of(own: int, others: int) -> int:
    """Return how many of a query's ``own`` vectors to search for at a time.

    Beside ``others`` they are about as many, so that these take at most twice as long as alone.
    """
    return min(own, max(PART_MIN, min(others, PART)) if others else TOGETHER)


def count(batch: Batch) -> None:
    """Count a search that has ended."""
    SEARCH_QUERIES.add(batch.queries)
    SEARCH_SECONDS.add(batch.ended - batch.began)
