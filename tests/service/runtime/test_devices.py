"""A server says where it computes, and what it compiles first."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

from structlog.testing import capture_logs

from visual_memory_service.runtime.devices import tell_compiling

LIMIT = 30.0  # seconds


def test_loops_that_are_compiled_are_told_at_once_and_at_the_end() -> None:
    prepared = Future[object]()

    with capture_logs() as logged:
        tell_compiling(prepared, 0.01)
        end = time.monotonic() + LIMIT
        while not logged and time.monotonic() < end:
            time.sleep(0.01)
        (before,) = [each["event"] for each in logged]
        prepared.set_result(None)

    assert before == "compiling loops"
    assert [each["event"] for each in logged] == ["compiling loops", "loops compiled"]
    assert 0 < logged[1]["seconds"] < LIMIT


def test_loops_that_were_compiled_before_are_not_told() -> None:
    prepared, threads = Future[object](), threading.active_count()

    with capture_logs() as logged:
        tell_compiling(prepared, LIMIT)
        prepared.set_result(None)
        end = time.monotonic() + LIMIT
        while threading.active_count() > threads and time.monotonic() < end:
            time.sleep(0.01)

    assert threading.active_count() == threads
    assert logged == []
