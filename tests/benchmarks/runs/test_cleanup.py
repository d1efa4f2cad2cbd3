from __future__ import annotations

import signal

import pytest
from tests.conftest import Start

import visual_memory
from visual_memory_benchmarks.runs.cleanup import cleanup


def test_it_is_done_after_a_block_and_after_its_error() -> None:
    done: list[str] = []

    def fail() -> None:
        with cleanup(lambda: done.append("error")):
            raise KeyboardInterrupt

    with cleanup(lambda: done.append("end")):
        assert done == []
    with pytest.raises(KeyboardInterrupt):
        fail()

    assert done == ["end", "error"]


def test_its_own_error_is_raised_only_if_the_block_raised_none(
    client: visual_memory.Client,
) -> None:
    def block(error: Exception | None) -> None:
        with cleanup(lambda: client.delete_memory("nobody")):
            if error:
                raise error

    with pytest.raises(visual_memory.NotFound):
        block(None)
    with pytest.raises(OSError, match="the first"):
        block(OSError("the first"))


def test_nothing_is_sent_to_a_server_that_is_unreachable() -> None:
    done: list[str] = []

    def fail() -> None:
        with (
            cleanup(lambda: done.append("sent")),
            visual_memory.connect("127.0.0.1:1", timeout=2) as client,
        ):
            client.memory("any").info()

    with pytest.raises(visual_memory.Unavailable):
        fail()
    assert done == []


def test_it_is_done_on_a_server_that_was_slow(start: Start) -> None:
    server = start()

    def fail(client: visual_memory.Client) -> None:
        with (
            cleanup(lambda: client.delete_memory("slow")),
            visual_memory.connect(server.address, timeout=0.5) as hasty,
        ):
            server.process.send_signal(signal.SIGSTOP)
            try:
                hasty.memory("slow").info()
            finally:
                server.process.send_signal(signal.SIGCONT)

    with visual_memory.connect(server.address) as client:
        client.create_memory("slow", dimension=2)
        with pytest.raises(visual_memory.DeadlineExceeded):
            fail(client)
        assert client.memories() == []
