"""Readers share the lock, a writer is alone, and waits for no reader that comes after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from visual_memory_index.ram.lock import ReadWriteLock

LONG = 10.0
MOMENT = 0.05


def started(run: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_readers_are_in_together() -> None:
    lock, together = ReadWriteLock(), threading.Barrier(3)

    def read() -> None:
        with lock.reading():
            together.wait(LONG)

    threads = [started(read) for _ in range(3)]
    for thread in threads:
        thread.join(LONG)

    assert not together.broken


def test_a_writer_waits_for_the_readers_and_later_readers_wait_for_the_writer() -> None:
    lock, done, waiting = ReadWriteLock(), list[str](), threading.Event()

    def write() -> None:
        waiting.set()
        with lock.writing():
            done.append("writer")

    def read() -> None:
        with lock.reading():
            done.append("reader")

    with lock.reading():
        threads = [started(write)]
        assert waiting.wait(LONG)
        threads[0].join(MOMENT)
        threads.append(started(read))
        threads[1].join(MOMENT)
        assert done == []
    for thread in threads:
        thread.join(LONG)

    assert done == ["writer", "reader"]


def test_writers_are_alone() -> None:
    lock, inside, most = ReadWriteLock(), 0, 0

    def write() -> None:
        nonlocal inside, most
        for _ in range(200):
            with lock.writing():
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [started(write) for _ in range(4)]
    for thread in threads:
        thread.join(LONG)

    assert (most, inside) == (1, 0)


def test_a_writer_that_waited_long_enough_gives_up_and_those_behind_it_go_on() -> None:
    lock, done = ReadWriteLock(), list[object]()

    def write() -> None:
        with lock.writing(MOMENT) as free:
            done.append(free)

    def read() -> None:
        with lock.reading():
            done.append("reader")

    with lock.reading():
        for thread in [started(write), started(read)]:
            thread.join(LONG)

    assert sorted(map(str, done)) == ["False", "reader"]
    with lock.writing(MOMENT) as free:
        assert free


@pytest.mark.parametrize("side", [ReadWriteLock.reading, ReadWriteLock.writing])
def test_an_error_inside_gives_the_lock_back(side: Callable[..., object]) -> None:
    lock = ReadWriteLock()

    with pytest.raises(ZeroDivisionError), side(lock):  # type: ignore[attr-defined]  # both are context managers
        raise ZeroDivisionError
    thread = started(lock.writing().__enter__)
    thread.join(LONG)

    assert not thread.is_alive()


def test_a_writer_that_comes_again_at_once_lets_in_those_who_wait() -> None:
    lock, seen, number = ReadWriteLock(), set[int](), [0]

    def read() -> None:
        with lock.reading():
            seen.add(number[0])

    threads = []
    for _ in range(50):
        with lock.writing():
            number[0] += 1
            threads.append(started(read))
            while not lock._readers_waiting:
                threading.Event().wait(0.0005)
        lock.let_in()
        assert number[0] in seen
    for thread in threads:
        thread.join(LONG)


def test_nobody_waits_to_be_let_in() -> None:
    ReadWriteLock().let_in()


@pytest.mark.parametrize("side", [ReadWriteLock.reading, ReadWriteLock.writing])
def test_where_memory_runs_out_for_one_that_waits_others_do_not_wait_for_it(
    side: Callable[..., AbstractContextManager[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = ReadWriteLock()
    with monkeypatch.context() as short, lock.writing():

        def no_memory(*_: object) -> bool:
            raise MemoryError

        short.setattr(lock._changed, "wait", no_memory)
        with pytest.raises(MemoryError), side(lock):
            pass

    def read_and_write() -> None:
        with lock.reading():
            pass
        lock.let_in()
        with lock.writing():
            pass

    thread = started(read_and_write)
    thread.join(LONG)
    assert not thread.is_alive()


def test_a_reader_that_may_not_wait_is_in_only_if_the_lock_is_free() -> None:
    lock, writing, over = ReadWriteLock(), threading.Event(), threading.Event()

    def write() -> None:
        with lock.writing():
            writing.set()
            over.wait(LONG)

    with lock.reading(), lock.reading_if_free() as beside_a_reader:
        writer = started(write)
        assert not writing.wait(MOMENT)
        with lock.reading_if_free() as before_a_writer:
            pass
    assert writing.wait(LONG)
    with lock.reading_if_free() as beside_a_writer:
        pass
    over.set()
    writer.join(LONG)
    with lock.reading_if_free() as at_last, lock.writing(MOMENT) as alone:
        pass
    with lock.writing(LONG) as later:
        pass

    assert (beside_a_reader, before_a_writer, beside_a_writer) == (True, False, False)
    assert (at_last, alone, later) == (True, False, True)
