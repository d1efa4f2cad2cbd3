"""Every write, fsync, truncation, creation, unlink and rename fails in turn, in every way.

A call is acknowledged or refused with a clean status, reads go on, the write succeeds once the disk
works, and a restart finds what was acknowledged. ``make durability`` fails each system call of each
kind of write; otherwise a sample.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
import pytest
from tests.conftest import Server
from tests.durability.faults.faults import CALLS, FAULTS, SWALLOW, Fault, Faults
from tests.durability.ledger.contents import of_server
from tests.durability.ledger.ledger import Write, essence, judge
from tests.durability.ledger.workload import BROKEN, OperationFailed, Writer, create_shared

from visual_memory import errors

POINTS = int(os.environ.get("FAULT_POINTS", "1"))  # of each fault and kind of write
RESTARTS = int(os.environ.get("FAULT_RESTARTS", "1"))
CLEAN = {"DISK_FULL", "WRITE_FAILED", "READ_FAILED", "CORRUPT_STORE"}
COUNTING = 1 << 30
FAILING, FULL = FAULTS[1], FAULTS[3]
UNSOUND = ("create", "drop")
KINDS = Writer("nobody", random.Random()).kinds


@dataclass
class Bench:
    """A server on a disk that fails on command, with its only client."""

    folder: Path
    faults: Faults
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(random.random())
        self._folders = 0
        self.begin()

    def begin(self) -> None:
        """Start a new server with an empty folder."""
        self.end()
        self.faults.disarm()
        self._folders += 1
        with self.faults.preloaded():
            self.server = Server(self.folder / str(self._folders))
        create_shared(self.server.stub)
        self.writer = Writer("w", random.Random(random.random()))
        self.writer.connect(self.server.address)

    def end(self) -> None:
        """End the server and the client, if they run."""
        if self._folders:
            self.writer.close()
            if self.server.process.poll() is None:
                self.server.end(signal.SIGKILL)

    def count(self, kind: str, fault: Fault) -> int:
        """Count the system calls of a write of this kind that can fail."""
        flight = self.writer.ready(kind)
        self.faults.arm(fault, COUNTING)
        self.writer.send(flight)
        return COUNTING - self.faults.left()

    def suffer(self, kind: str, fault: Fault, number: int) -> None:
        """Make a write of which one system call fails; start anew after a problem."""
        known, what = len(self.problems), f"{kind}, {fault.name} at {number}"
        try:
            self._suffer(what, kind, fault, number)
        except grpc.RpcError as error:
            self.problems.append(f"{what}: then {error.code().name} {error.details()}")
        if len(self.problems) > known:
            self.begin()

    def _suffer(self, what: str, kind: str, fault: Fault, number: int) -> None:
        flight = self.writer.ready(kind)
        self.faults.arm(fault, number)
        refused = self.refusal(what, flight)
        self.check(f"{what}, reading")
        if suffered := self.faults.suffered():
            self.outcomes[f"{fault.name} at {suffered}: {refused or 'acknowledged'}"] += 1
        self.faults.disarm()
        if refused:
            self.go_on(what, kind, flight)
        self.check(what)

    def refusal(self, what: str, flight: list[Write]) -> str:
        """Send a write; return the reason of its refusal, empty if it succeeded."""
        try:
            self.writer.send(flight)
        except grpc.RpcError as error:
            if error.code() in BROKEN:
                raise
            refused = errors.from_rpc(error, "the server")
            if refused.reason not in CLEAN:
                self.problems.append(f"{what}: {error.code().name} {refused.message}")
            return refused.reason or error.code().name
        except OperationFailed as failure:
            if "could not be written" not in str(failure):
                self.problems.append(f"{what}: the operation failed, for: {failure}")
            return "operation failed"
        return ""

    def go_on(self, what: str, kind: str, flight: list[Write]) -> None:
        """Repeat the refused writes on a working disk, a prune as a new one; they must succeed."""
        again = [write for write in flight if write.answer is None]
        if kind == "prune":
            again = self.writer.ready(kind)
        if refused := self.refusal(f"{what}, once more", again):
            self.problems.append(f"{what}: once more, and refused with {refused}")

    def check(self, what: str) -> None:
        """Note problems in the server's present content."""
        try:
            found = judge(of_server(self.server.stub), [self.writer.ledger])
        except grpc.RpcError as error:
            found = [f"cannot be read: {error.code().name} {error.details()}"]
        self.problems += [f"{what}: {problem}" for problem in found]

    def restart(self, number: int) -> None:
        """End the server by a signal, and check the content and answers of the next one."""
        self.server.end(number)
        self.start()
        self.check(f"after signal {number}")
        for write in self.writer.ledger.repeatable[-20:]:
            if essence(write.send(self.server.stub)) != write.answer:
                self.problems.append(f"{write.method} {write.request_id}: another answer")

    def start(self) -> None:
        with self.faults.preloaded():
            self.server.start()
        self.writer.connect(self.server.address)

    def try_to_start(self, what: str) -> None:
        """Start the server; a refusal must be one sentence, and then the disk works."""
        try:
            self.start()
        except pytest.fail.Exception as failure:
            self.outcomes["not started"] += 1
            if self.server.process.returncode != 1 or "Traceback" in str(failure):
                self.problems.append(f"{what}: {failure}")
            self.faults.disarm()
            self.start()


@pytest.fixture(scope="module")
def used_bench(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    with closing(Faults(library, folder / "control", folder / "data")) as faults:
        bench = Bench(folder / "data", faults)
        yield bench
        bench.end()


@pytest.fixture
def bench(used_bench: Bench, capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    """The bench of all tests, with a new server if a test left the last one unsound."""
    bench = used_bench
    bench.faults.disarm()
    bench.check("before it")
    if bench.problems:
        bench.begin()
        bench.problems.clear()
    bench.outcomes.clear()
    yield bench
    if "FAULT_POINTS" in os.environ:
        with capsys.disabled():
            print(f"\n{bench.outcomes.total()} faults")
            print("\n".join(f"{count:5} {each}" for each, count in bench.outcomes.most_common()))


def some(chance: random.Random, points: int, count: int) -> Iterable[int]:
    """Return ``count`` random numbers from 1 to ``points``, or all."""
    return sorted(chance.sample(range(1, points + 1), min(points, count)))


def lead_through(bench: Bench, kinds: Sequence[str]) -> None:
    """Let every kind of write fail in every way, then restart by SIGKILL and SIGTERM."""
    for fault in FAULTS:
        for kind in kinds:
            for number in some(bench.chance, bench.count(kind, fault), POINTS):
                bench.suffer(kind, fault, number)
    bench.restart(signal.SIGKILL)
    bench.restart(signal.SIGTERM)
    assert bench.outcomes
    assert not bench.problems, "\n".join(bench.problems)


def test_a_write_that_fails_is_refused_and_done_once_the_disk_is_well(bench: Bench) -> None:
    lead_through(bench, [kind for kind in KINDS if kind not in UNSOUND])


def test_writers_side_by_side_are_each_refused_or_acknowledged(bench: Bench) -> None:
    writers = [bench.writer, *(Writer(name, random.Random(random.random())) for name in "xyz")]
    ledgers, over = [writer.ledger for writer in writers], threading.Event()
    for writer in writers[1:]:
        writer.connect(bench.server.address)
    with ThreadPoolExecutor(len(writers)) as threads:
        working = [threads.submit(write_until, over, writer) for writer in writers]
        for _ in range(20 * min(POINTS, 20)):
            bench.faults.arm(bench.chance.choice(FAULTS), bench.chance.randint(1, 60))
            time.sleep(0.03)
            bench.outcomes[f"at {bench.faults.suffered()}"] += bench.faults.disarm()
        over.set()
        refused = sum(each.result() for each in working)
    for writer in writers:
        writer.do("insert")
    served = judge(of_server(bench.server.stub), ledgers)
    bench.server.end(signal.SIGKILL)
    bench.start()

    assert refused
    assert served == judge(of_server(bench.server.stub), ledgers) == []
    for writer in writers[1:]:
        writer.close()


def write_until(over: threading.Event, writer: Writer) -> int:
    """Write until ``over`` is set; return the number of clean refusals."""
    refused, kinds = 0, [kind for kind in KINDS if kind not in UNSOUND]
    while not over.is_set():
        try:
            writer.do(random.choice(kinds))
        except grpc.RpcError as error:
            if errors.from_rpc(error, "the server").reason not in CLEAN:
                raise
            refused += 1
        except OperationFailed:
            refused += 1
    return refused


def test_a_memory_that_cannot_be_made_or_dropped_is_as_before(bench: Bench) -> None:
    lead_through(bench, UNSOUND)


def test_a_folder_that_cannot_be_synced_refuses_a_memory_cleanly(bench: Bench) -> None:
    bench.faults.arm(replace(FULL, calls=CALLS["fsync"]), 1, "/memories")

    bench.refusal("create", bench.writer.ready("create"))

    assert bench.faults.disarm()
    assert not bench.problems


def test_a_drop_that_a_full_disk_refuses_leaves_the_memory_served(bench: Bench) -> None:
    flight = bench.writer.ready("drop")
    bench.faults.arm(FULL, 1)

    assert bench.refusal("drop", flight) == "DISK_FULL"

    bench.faults.disarm()
    bench.check("after it")
    assert not bench.problems


def test_a_server_that_cannot_start_or_stop_says_so_and_loses_nothing(bench: Bench) -> None:
    for kind in KINDS:
        bench.writer.do(kind)
    bench.writer.count()
    bench.faults.arm(FAILING, COUNTING)
    bench.server.end()
    stopping = COUNTING - bench.faults.left()
    bench.start()
    starting = COUNTING - bench.faults.left() - stopping
    for fault in (FAILING, FULL):
        for number in some(bench.chance, stopping, RESTARTS):
            stop_failing(bench, fault, number)
        for number in some(bench.chance, starting, RESTARTS):
            start_failing(bench, fault, number)

    assert stopping
    assert starting
    assert not bench.problems, "\n".join(bench.problems)


def stop_failing(bench: Bench, fault: Fault, number: int) -> None:
    bench.writer.do("insert")
    bench.faults.arm(fault, number)
    code = bench.server.end()
    bench.outcomes[f"stopped with {code}"] += bench.faults.disarm()
    bench.start()
    bench.check(f"stopped, {fault.name} at {number}")


def start_failing(bench: Bench, fault: Fault, number: int) -> None:
    bench.server.end(signal.SIGKILL)
    bench.faults.arm(fault, number)
    bench.try_to_start(f"starting, {fault.name} at {number}")
    bench.outcomes["started"] += bench.faults.disarm()
    bench.restart(signal.SIGKILL)


def test_a_memory_that_could_not_be_opened_is_served_once_the_disk_is_well(bench: Bench) -> None:
    bench.writer.do("insert")
    bench.server.end()
    bench.faults.arm(replace(FULL, calls=CALLS["create"]), 2, ".sqlite-shm")
    bench.start()

    assert bench.faults.disarm()
    bench.check("after it")
    assert not bench.problems


def test_a_checkpoint_that_fails_is_made_up_for(bench: Bench) -> None:
    suffered = list[str]()
    bench.faults.arm(FULL, 1, ".sqlite")
    bench.writer.fill_log()

    for fault in (FAILING, FULL):
        for number in (1, 2, 3, 50, 500):
            met = ""
            while not met:  # a reader may hold up a checkpoint
                flight = bench.writer.ready("insert")  # whose commits may not fold the log either
                bench.faults.arm(fault, number, ".sqlite")
                bench.writer.send(flight)
                met = bench.faults.suffered()
                bench.faults.arm(FULL, 1, ".sqlite")
            suffered.append(met)
            bench.check(f"checkpoint, {fault.name} at {number}")
    bench.faults.disarm()
    bench.restart(signal.SIGKILL)

    assert suffered == ["write of .sqlite"] * 10
    assert not bench.problems, "\n".join(bench.problems)


def test_what_a_failing_sync_refused_is_whole_or_absent_after_a_kill(bench: Bench) -> None:
    """SQLite cannot take back what is in the log: the next server may find it there."""
    failing = replace(FAILING, calls=CALLS["fsync"])
    sound = [kind for kind in KINDS if kind not in UNSOUND]
    for kind in bench.chance.sample(sound, min(len(sound), 1 + RESTARTS)):
        for number in range(1, min(bench.count(kind, failing), RESTARTS) + 1):
            flight = bench.writer.ready(kind)
            bench.faults.arm(failing, number)
            bench.refusal(kind, flight)
            bench.faults.disarm()
            before = bench.writer.ledger.state
            bench.writer.ledger.killed()
            bench.restart(signal.SIGKILL)
            after = bench.writer.ledger.state
            bench.outcomes["absent" if after == before else "there, though refused"] += 1

    assert not bench.problems, "\n".join(bench.problems)


def test_a_disk_that_swallows_writes_is_seen(bench: Bench) -> None:
    bench.faults.arm(Fault("swallows", SWALLOW, calls=CALLS["write"]), 1, "-wal")
    bench.writer.do("insert")
    bench.faults.disarm()

    with pytest.raises(grpc.RpcError) as seen:
        bench.restart(signal.SIGKILL)

    assert "so 1 acknowledged write is missing" in str(seen.value.details())
