"""Jobs run in threads that end once nothing owns them."""

from __future__ import annotations

import _thread
import queue
import threading
import time
import weakref

from visual_memory._transport.workers import IDLE_MAX, WorkerThreads

SECONDS = 20.0


class Owner:
    """The owner of worker threads."""


def started(owner: Owner) -> WorkerThreads:
    workers = WorkerThreads()
    workers.start(owner, workers.end)
    return workers


def test_no_job_waits_for_another() -> None:
    owner, met = Owner(), threading.Barrier(10 + 1)
    workers = started(owner)

    for _ in range(10):
        workers.submit(lambda: met.wait(SECONDS))

    met.wait(SECONDS)


def test_jobs_that_follow_each_other_share_a_few_threads_none_of_which_is_the_callers() -> None:
    owner, told = Owner(), queue.SimpleQueue[int]()
    workers, threads = started(owner), set[int]()

    for _ in range(200):
        workers.submit(lambda: told.put(threading.get_ident()))
        threads.add(told.get(timeout=SECONDS))

    assert threading.get_ident() not in threads
    assert len(threads) < 20


def test_threads_that_nobody_needs_any_more_end() -> None:
    owner, met, before = Owner(), threading.Barrier(100 + 1), _thread._count()
    workers = started(owner)
    for _ in range(100):
        workers.submit(lambda: met.wait(SECONDS))
    met.wait(SECONDS)
    deadline = time.monotonic() + SECONDS

    while _thread._count() > before + IDLE_MAX:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_when_nobody_has_the_owner_any_more_the_last_job_is_done() -> None:
    owner, told = Owner(), queue.SimpleQueue[str]()
    workers = WorkerThreads()
    workers.start(owner, lambda: told.put("ended"))

    del owner

    assert told.get(timeout=SECONDS) == "ended"
    workers.end()


def test_a_job_is_done_when_what_is_watched_is_lost_unless_nobody_watches_any_more() -> None:
    owner, lost, kept, told = Owner(), Owner(), Owner(), queue.SimpleQueue[str]()
    workers = started(owner)
    watched = workers.watch(lost, lambda: told.put("lost"))
    given_up = workers.watch(kept, lambda: told.put("given up"))

    del given_up
    del kept, lost

    assert told.get(timeout=SECONDS) == "lost"
    assert watched() is None
    assert told.empty()


def test_at_the_end_every_thread_ends_once_its_job_is_done() -> None:
    owner, going, gone = Owner(), threading.Event(), queue.SimpleQueue[object]()
    workers = started(owner)
    for _ in range(5):
        workers.submit(lambda: going.wait(SECONDS))
    seen = weakref.ref(workers, gone.put)

    workers.end()
    del workers

    assert seen() is not None
    going.set()
    gone.get(timeout=SECONDS)  # no thread has it any more
