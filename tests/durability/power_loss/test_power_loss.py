"""Power loss at any moment: the possible remains of a real server's writes are opened and judged.

A random workload is recorded: the server's writes and syncs, and the moments of its answers. For
these moments, folders are made as the disk may hold them then (see ``disk``); each is opened, and
must hold all that was acknowledged by that moment. ``make durability`` opens 25,000 folders, of
which some 10,000 are different.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conftest import Server
from tests.durability.ledger.contents import MemoryContents, damages, of_folder, of_server
from tests.durability.ledger.ledger import Ledger, essence, judge, strangers
from tests.durability.ledger.workload import DIMENSION, SHARED, Writer, create_shared
from tests.durability.power_loss.disk import LEFT_OUT, Disk, Image
from tests.durability.power_loss.recording import (
    SENT,
    Call,
    Process,
    Recorder,
    answers,
    calls,
    need,
)

from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start

STATES = int(os.environ.get("POWER_LOSS_STATES", "50"))
FEW, MORE = 40, 150  # states, in which a seeded fault is surely seen
SERVED = max(2, STATES // 200)  # of them are also looked at by a real server
VARIANTS = 3
RUNS, STEPS = 3, 12
RAM = Path("/dev/shm")
NOTHING = MemoryContents(DIMENSION, [], {}, [], {})


@dataclass(frozen=True, slots=True)
class Recording:
    """System calls of successive servers of one folder, and the moments of acknowledgements.

    ``created`` is the moment for the shared memory, ``acknowledged`` those of each writer's writes.
    """

    calls: Sequence[Call]
    root: Path
    ledgers: Sequence[Ledger]
    created: int
    acknowledged: Mapping[str, Sequence[int]]

    def moments(self, *, syncs: bool = True) -> Iterator[tuple[int, Disk]]:
        """Yield each moment with the disk: after a call on it, and at each answer."""
        disk = Disk(syncs=syncs)
        process = Process(disk, self.root)
        for call in self.calls:
            if process.do(call) or call.name == SENT:
                yield call.moment, disk

    def answered(self, ledger: Ledger, moment: int) -> int:
        """Return the number of writes of a ledger acknowledged by that moment."""
        return bisect_right(self.acknowledged[ledger.writer], moment)


def record(
    tmp_path: Path,
    chance: random.Random,
    *,
    runs: int = RUNS,
    fill_log: bool = False,
    data: str = ".",
) -> Recording:
    """Record a random workload in a new folder, or ``data`` below it; SIGTERM ends servers."""
    need("strace")
    recorder = Recorder(tmp_path, sys.executable)
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    writers = [Writer(f"w{n}", random.Random(chance.random())) for n in range(2)]
    recorded, created = list[Call](), 0
    acknowledged: dict[str, list[int]] = {writer.ledger.writer: [] for writer in writers}
    for run in range(runs):
        log = recorder.begin()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", str(recorder.python))
            server = Server(root / data)
        try:
            if run == 0:
                create_shared(server.stub)
            write(server, writers, fill_log=fill_log and run == 0)
        finally:
            server.end()
        since = recorded[-1].ended + 1 if recorded else 0
        recorded += (latest := calls(log.result(), since))
        sent = answers([call for call in latest if call.name == SENT])
        created = created or sent[0, 0, 0]
        for connection, writer in enumerate(writers, start=1):
            moments = acknowledged[writer.ledger.writer]
            for each in writer.ledger.writes[len(moments) :]:
                assert each.receipt
                moments.append(sent[(connection, *each.receipt)])
    ledgers = [writer.ledger for writer in writers]
    return Recording(of_interest(recorded, root), root, ledgers, created, acknowledged)


def of_interest(recorded: Sequence[Call], root: Path) -> Sequence[Call]:
    """Return the calls about files below ``root``, and answers; Python's imports make most."""
    process = Process(Disk(), root)
    return [call for call in recorded if process.do(call) or call.name == SENT]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A recording that several tests use."""
    return record(tmp_path_factory.mktemp("recording"), random.Random(random.random()))


def write(server: Server, writers: Sequence[Writer], *, fill_log: bool) -> None:
    """Let all writers write at once, then ask for counts, whose lists the server keeps."""
    server.stub.GetServerInfo(pb.GetServerInfoRequest())  # on the first connection
    for writer in writers:
        writer.connect(server.address)
    if fill_log:
        writers[0].fill_log()
    with ThreadPoolExecutor(len(writers)) as threads:
        list(threads.map(lambda writer: [writer.step() for _ in range(STEPS)], writers))
    for writer in writers:
        writer.count()
        writer.close()


@dataclass(frozen=True, slots=True)
class Look:
    """The findings in a folder that do not depend on the moment.

    ``matching`` are, for each writer, the numbers of writes after which its entries are as found.
    """

    problems: Sequence[str]
    shared: bool
    matching: Mapping[str, Sequence[int]]


@dataclass
class Judge:
    """Opens each different folder once, and lists its problems at a moment."""

    recording: Recording
    looks: dict[bytes, Look] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._histories = [ledger.history() for ledger in self.recording.ledgers]

    def problems(self, image: Image, moment: int) -> list[str]:
        digest = digest_of(image)
        if digest not in self.looks:
            with left(image) as folder:
                self.looks[digest] = self._look(folder)
        look = self.looks[digest]
        problems = list(look.problems)
        if not look.shared and moment >= self.recording.created:
            problems.append(f"memory {SHARED} is lost")
        for ledger in self.recording.ledgers:
            first = self.recording.answered(ledger, moment)
            allowed = range(first, first + 1 + len(ledger.under_way_after(first)))
            if not set(allowed) & set(look.matching.get(ledger.writer, ())):
                problems.append(
                    f"{ledger.writer} has {look.matching.get(ledger.writer)} of its writes, "
                    f"but should have {allowed.start} to {allowed.stop - 1}"
                )
        return problems

    def _look(self, folder: Path) -> Look:
        try:
            contents = dict(of_folder(folder))
        except Exception as error:
            return Look([f"it cannot be opened: {error!r}"], False, {})
        problems = damages(folder, list(contents))
        shared = SHARED in contents
        contents.setdefault(SHARED, NOTHING)
        problems += strangers(contents, self.recording.ledgers)
        for memory in contents.values():
            problems += memory.inconsistencies()
        matching = {
            ledger.writer: [
                count
                for count, state in enumerate(history)
                if not ledger.differences(state, contents)
            ]
            for ledger, history in zip(self.recording.ledgers, self._histories, strict=True)
        }
        return Look(problems, shared, matching)


@contextmanager
def left(image: Image) -> Iterator[Path]:
    """Context manager: a temporary folder with this content."""
    folder = Path(tempfile.mkdtemp(dir=RAM if RAM.is_dir() else None))
    try:
        for name, content in image.items():
            if content is None:
                (folder / name).mkdir()
            else:
                (folder / name).write_bytes(content)
        yield folder
    finally:
        shutil.rmtree(folder)


def digest_of(image: Image) -> bytes:
    digest = sha256()
    for name, content in sorted(image.items()):
        digest.update(f"{name} {-1 if content is None else len(content)} ".encode())
        digest.update(content or b"")
    return digest.digest()


def states_after(disk: Disk, chance: random.Random) -> list[Image]:
    """Return possible states of the disk: all, only what was synced, and some in between."""
    cached, kept = disk.cached(), disk.kept()
    if cached == kept:
        return [cached]
    return [cached, kept, *(disk.remains(chance) for _ in range(VARIANTS))]


@dataclass
class Tally:
    """The number of states judged, and the failures; ``passed`` are states with their moments."""

    states: int = 0
    different: int = 0
    failures: list[str] = field(default_factory=list)
    passed: list[tuple[int, Image]] = field(default_factory=list)

    def __str__(self) -> str:
        head = f"{self.states} states after power loss, {self.different} of them different"
        return "\n".join([head, f"{len(self.failures)} failures", *self.failures[:10]])


def look_at(
    recording: Recording,
    chance: random.Random,
    tally: Tally,
    states: float,
    *,
    at: Callable[[int], bool] = lambda moment: True,
    syncs: bool = True,
) -> None:
    """Judge about ``states`` states at the moments that ``at`` selects, or all of them."""
    judge = Judge(recording)
    some = random.Random(0)
    all_states = sum(
        1 + (1 + VARIANTS) * disk.pending
        for moment, disk in recording.moments(syncs=syncs)
        if at(moment)
    )
    for moment, disk in recording.moments(syncs=syncs):
        if not at(moment) or chance.random() * all_states > states:
            continue
        for image in states_after(disk, chance):
            tally.states += 1
            if problems := judge.problems(image, moment):
                tally.failures.append(f"after {moment}: {'; '.join(problems)}")
            elif moment >= recording.created and some.random() * states < SERVED:
                tally.passed.append((moment, image))
    tally.different += len(judge.looks)


def serve_what_is_left(recording: Recording, moment: int, image: Image, start: Start) -> None:
    """Start a real server on a state; repeated writes must be answered and done once."""
    writers = []
    for ledger in recording.ledgers:
        writer = Writer(ledger.writer, random.Random(0))
        writer.ledger = ledger.earlier(recording.answered(ledger, moment))
        writers.append(writer)
    ledgers = [writer.ledger for writer in writers]
    with left(image) as folder:
        server = start(folder)
        problems = judge(of_server(server.stub), ledgers)
        for writer in writers:
            writer.connect(server.address)
            writer.make_up()
            for write in writer.ledger.repeatable:
                if essence(write.send(server.stub)) != write.answer:
                    problems.append(f"{write.method} {write.request_id} has another answer")
            writer.close()
        problems += judge(of_server(server.stub), ledgers)
        server.end()
    assert not problems, problems


def test_the_recording_is_all_that_the_server_wrote(recording: Recording) -> None:
    *_, (_, disk) = recording.moments()

    assert disk.cached() == {
        str(path.relative_to(recording.root)): None if path.is_dir() else path.read_bytes()
        for path in recording.root.rglob("*")
        if not path.name.endswith(LEFT_OUT)
    }


def test_what_was_acknowledged_outlives_any_power_loss(
    recording: Recording, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, tally = random.Random(random.random()), Tally()
    while tally.states < STATES:
        look_at(recording, chance, tally, 1.1 * (STATES - tally.states))
        for moment, image in tally.passed:
            serve_what_is_left(recording, moment, image, start)
        tally.passed.clear()
        if tally.states < STATES:
            recording = record(Path(tempfile.mkdtemp(dir=tmp_path)), chance)
    with capsys.disabled():
        print(f"\n{tally}")
    assert not tally.failures, tally


def test_a_checkpoint_while_it_serves_outlives_any_power_loss(tmp_path: Path) -> None:
    chance, tally = random.Random(random.random()), Tally()
    recording = record(tmp_path, chance, runs=1, fill_log=True)
    begun: dict[bytes, list[int]] = defaultdict(list)
    for call in recording.calls:
        if call.begins_log:
            begun[call.text.partition(b">")[0]].append(call.began)
    begun_anew = min(moment for _, *more in begun.values() for moment in more)

    look_at(recording, chance, tally, STATES // 20, at=lambda moment: moment >= begun_anew)

    assert not tally.failures, tally


def test_a_disk_that_does_not_sync_is_seen(recording: Recording) -> None:
    chance, tally = random.Random(random.random()), Tally()

    while tally.states < FEW:
        look_at(recording, chance, tally, FEW, syncs=False)

    assert len(tally.failures) > tally.states // 4


def test_a_server_that_answers_before_it_syncs_is_seen(recording: Recording) -> None:
    chance, tally = random.Random(random.random()), Tally()
    moments = [moment for moment, _ in recording.moments()]
    syncs = [call.ended for call in recording.calls if call.name == "fdatasync"]

    def before_its_sync(moment: int) -> int:
        return moments[bisect_left(moments, syncs[bisect_right(syncs, moment) - 1]) - 1]

    early = {
        writer: [before_its_sync(moment) for moment in moments]
        for writer, moments in recording.acknowledged.items()
    }
    too_early = set[int]().union(*early.values())
    hasty = replace(recording, acknowledged=early)
    problem = "of its writes, but should have"

    while not any(problem in failure for failure in tally.failures) and tally.states < MORE:
        look_at(hasty, chance, tally, MORE // 10, at=too_early.__contains__)

    assert any(problem in failure for failure in tally.failures)


def test_a_data_folder_that_the_server_made_outlives_power_loss(tmp_path: Path) -> None:
    recording = record(tmp_path, random.Random(0), runs=1, data="made")

    for moment, disk in recording.moments():
        assert moment < recording.created or "made" in disk.kept()
