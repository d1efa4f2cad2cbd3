"""SIGSTOP under writers: a client that timed out sends the write again, and it is done once."""

from __future__ import annotations

import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from tests.conftest import Server
from tests.durability.ledger.contents import of_server
from tests.durability.ledger.ledger import essence, judge
from tests.durability.ledger.workload import Writer, create_shared

import visual_memory
from visual_memory import DeadlineExceeded

if TYPE_CHECKING:
    from tests.conftest import Start

PATIENCE_SECONDS = 0.3
STANDSTILL_SECONDS = 1.0


def keep_writing(writer: Writer, address: str, over: threading.Event) -> int:
    """Write until ``over`` is set and all is answered; return the number of timeouts."""
    writer.connect(address, seconds=PATIENCE_SECONDS)
    late = 0
    while not over.is_set() or writer.ledger.under_way:
        try:
            if writer.ledger.under_way:
                writer.send(list(writer.ledger.under_way))
            else:
                writer.step()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            late += 1
    return late


def stand_still(server: Server, seconds: float) -> None:
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    server.process.send_signal(signal.SIGCONT)


def test_nothing_is_lost_or_done_twice_by_a_server_that_stood_still(start: Start) -> None:
    server, over = start(), threading.Event()
    create_shared(server.stub)
    writers = [Writer(f"w{n}", random.Random(random.random())) for n in range(3)]

    with ThreadPoolExecutor(len(writers)) as threads:
        working = [threads.submit(keep_writing, each, server.address, over) for each in writers]
        for _ in range(2):
            time.sleep(0.3)
            stand_still(server, STANDSTILL_SECONDS)
        time.sleep(0.3)
        over.set()
        late = sum(each.result() for each in working)

    assert late >= len(writers)
    ledgers = [writer.ledger for writer in writers]
    assert judge(of_server(server.stub), ledgers) == []
    for write in [write for ledger in ledgers for write in ledger.repeatable]:
        assert essence(write.send(server.stub)) == write.answer
    assert judge(of_server(server.stub), ledgers) == []
    for writer in writers:
        writer.close()


def test_the_client_tells_how_to_go_on_after_a_standstill(start: Start) -> None:
    server = start()
    rows, labels = np.eye(4), ["cat"] * 4
    with visual_memory.connect(server.address, timeout=2.0) as client:
        pets = client.create_memory("pets", dimension=4)
        first = pets.insert(vectors=rows[:1], labels=["cat"]).ids

        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(DeadlineExceeded) as late:
            pets.insert(vectors=rows, labels=labels)
        server.process.send_signal(signal.SIGCONT)
        request_id = late.value.request_id
        ids = pets.insert(vectors=rows, labels=labels, request_id=request_id).ids

        assert request_id
        assert sorted([*first, *ids]) == [entry.id for entry in pets.entries()]


def test_a_client_that_does_not_repeat_its_request_id_is_seen(start: Start) -> None:
    server = start()
    create_shared(server.stub)
    writer = Writer("w", random.Random(0))
    writer.connect(server.address)
    while all(entry.id for part in writer.ledger.state.values() for entry in part.entries.values()):
        writer.send(flight := writer.prepare("insert"))

    request = flight[0].requests[0]
    request.request_id = "another"
    server.stub.InsertEntries(request)

    assert any("is there twice" in each for each in judge(of_server(server.stub), [writer.ledger]))
    writer.close()
