"""kill -9 at random moments under three writers: all that was acknowledged is there, nothing half.

``make durability`` kills 2,000 times.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from tests.conftest import Server
from tests.durability.ledger.contents import of_server
from tests.durability.ledger.ledger import essence, judge
from tests.durability.ledger.workload import SHARED, Writer, create_shared

from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start

ROUNDS = int(os.environ.get("KILL_ROUNDS", "4"))
ROUNDS_A_FOLDER = 50
SECONDS_MAX = 0.6
KILLED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
REPEATED = 20


def test_what_was_acknowledged_outlives_any_kill(start: Start, tmp_path: Path) -> None:
    chance, left = random.Random(random.random()), ROUNDS
    while left:
        rounds = min(left, ROUNDS_A_FOLDER)
        live_and_die(start(tmp_path / f"{left}"), rounds, chance)
        left -= rounds


def live_and_die(server: Server, rounds: int, chance: random.Random) -> None:
    """Kill a server again and again, and check its folder each time."""
    create_shared(server.stub)
    writers = [Writer(f"w{n}", random.Random(chance.random())) for n in range(3)]
    for _ in range(rounds):
        write_until_killed(server, writers, chance.uniform(0.02, SECONDS_MAX))
        server.start()
        check(server, writers)
        for writer in writers:
            writer.connect(server.address)
            writer.make_up()
            recent = writer.ledger.repeatable[-REPEATED:]
            assert all(essence(write.send(server.stub)) == write.answer for write in recent)
        check(server, writers)
    for writer in writers:
        writer.close()
        assert len(writer.ledger.writes) > rounds
    server.end(signal.SIGKILL)


def test_an_entry_that_a_kill_lost_is_seen(start: Start) -> None:
    server = start()
    create_shared(server.stub)
    writer = Writer("w", random.Random(random.random()))
    write_until_killed(server, [writer], SECONDS_MAX)
    server.start()
    writer.connect(server.address)
    writer.make_up()
    lost = server.stub.ListEntries(pb.ListEntriesRequest(memory=SHARED, page_size=1)).entries
    server.stub.DeleteEntries(pb.DeleteEntriesRequest(memory=SHARED, ids=[lost[0].id]))

    problems = judge(of_server(server.stub), [writer.ledger])

    writer.close()
    assert any("is lost" in problem for problem in problems)


def check(server: Server, writers: Sequence[Writer]) -> None:
    problems = judge(of_server(server.stub), [writer.ledger for writer in writers])
    assert not problems, problems


def write_until_killed(server: Server, writers: Sequence[Writer], seconds: float) -> None:
    """Let all writers write as fast as they can for ``seconds``, then kill the server."""
    over = threading.Event()
    failures: list[BaseException] = []

    def run(writer: Writer) -> None:
        try:
            writer.connect(server.address)
            while not over.is_set():
                writer.step()
        except grpc.RpcError as error:
            if error.code() not in KILLED:
                failures.append(error)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    server.process.send_signal(signal.SIGKILL)
    over.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures, failures
    server.wait()
