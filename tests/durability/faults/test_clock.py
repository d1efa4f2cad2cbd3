"""A clock that jumps: ids stay unique and in order, and a repeated write is answered as before."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import Server
from tests.durability.faults.faults import Faults
from tests.durability.ledger.contents import of_server
from tests.durability.ledger.ledger import essence, judge
from tests.durability.ledger.workload import Writer, create_shared

HOUR, DAY = 3600, 24 * 3600


@dataclass
class Clocked:
    """A server with a clock that tests set, and its only client."""

    server: Server
    faults: Faults
    writer: Writer

    def jump(self, seconds: float) -> None:
        """Set the clock ``seconds`` ahead of the right time, and make a write."""
        self.faults.jump(seconds)
        self.writer.do("insert")

    def restart(self) -> None:
        self.server.end(signal.SIGKILL)
        with self.faults.preloaded():
            self.server.start()
        self.writer.connect(self.server.address)

    def problems(self) -> list[str]:
        """Repeat all writes, and list the problems."""
        problems = []
        for write in self.writer.ledger.repeatable:
            if essence(write.send(self.server.stub)) != write.answer:
                problems.append(f"{write.method} {write.request_id} has another answer")
        return problems + judge(of_server(self.server.stub), [self.writer.ledger])


@pytest.fixture
def clocked(faults: Faults, tmp_path: Path) -> Iterator[Clocked]:
    with faults.preloaded():
        server = Server(tmp_path / "data")
    create_shared(server.stub)
    writer = Writer("w", random.Random(random.random()))
    writer.connect(server.address)
    yield Clocked(server, faults, writer)
    writer.close()
    server.end(signal.SIGKILL)


def test_ids_stay_unique_and_in_order_inside_a_batch(clocked: Clocked) -> None:
    for seconds in (0, HOUR, -HOUR, 40 * DAY, -40 * DAY):
        clocked.jump(seconds)
        for _ in range(10):
            clocked.writer.do("insert")
    clocked.restart()
    clocked.jump(-DAY)

    batches = [list(write.ids) for write in clocked.writer.ledger.writes]
    ids = [id for batch in batches for id in batch]
    assert len(ids) == len(set(ids))
    assert all(batch == sorted(batch) for batch in batches)


def test_all_writes_go_on_and_are_answered_as_before_while_it_jumps(clocked: Clocked) -> None:
    for seconds in (HOUR, -HOUR, 23 * HOUR, -23 * HOUR, 0):
        clocked.jump(seconds)
        for _ in range(8):
            clocked.writer.step()
    before = clocked.problems()
    clocked.restart()

    assert before == clocked.problems() == []


@pytest.mark.parametrize("wrong", [3 * DAY, -3 * DAY], ids=["ahead", "behind"])
def test_a_clock_that_was_wrong_for_a_moment_forgets_no_answer(
    clocked: Clocked, wrong: float
) -> None:
    clocked.jump(0)
    clocked.jump(wrong)
    clocked.jump(0)

    assert clocked.problems() == []


def test_an_operation_can_be_undone_although_the_clock_was_wrong(clocked: Clocked) -> None:
    clocked.jump(0)
    for kind in ("prune", "relabel"):
        clocked.writer.do(kind)
    clocked.jump(40 * DAY)
    clocked.writer.do("prune")
    clocked.jump(0)

    while flight := clocked.writer.prepare("undo"):
        clocked.writer.send(flight)

    assert judge(of_server(clocked.server.stub), [clocked.writer.ledger]) == []


def test_an_answer_that_was_forgotten_is_seen(clocked: Clocked) -> None:
    for hour in range(100):
        clocked.faults.jump(hour * HOUR)
        clocked.writer.send(clocked.writer.prepare("insert"))  # and nothing makes room for it

    for write in clocked.writer.ledger.repeatable:
        if not all(id.startswith("w ") for id in write.ids):
            write.send(clocked.server.stub)

    found = judge(of_server(clocked.server.stub), [clocked.writer.ledger])
    assert any("is there twice" in problem for problem in found)
