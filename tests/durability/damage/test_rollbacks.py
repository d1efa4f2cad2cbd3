"""Files put back, exchanged or lost: each is noticed, or of a kind that docs/backup.md names.

A real server writes, unlearns, is stopped and killed; its folder is copied after each end, and
while it writes. Then folders are composed of parts of the copies, as a hand or a broken disk would
leave them, and opened. A folder in its latest state must be unharmed; every other must be noticed,
except for the kinds that cannot be. ``ROLLBACKS`` is the number of folders.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import pytest
from tests.conftest import Server

import visual_memory
from visual_memory import Client
from visual_memory_index import Catalog, Memory
from visual_memory_index.errors import MemoryRefusal

if TYPE_CHECKING:
    from tests.conftest import Start

ROLLBACKS = int(os.environ.get("ROLLBACKS", "28"))
SESSIONS = 3 if ROLLBACKS < 100 else 8
STEPS = 6
DIMENSION = 1024  # few entries a page: a log has not all of them
NAMES = ("birds", "fish", "frogs")
ENDS = ("", "-wal", "-shm")


class Stands(NamedTuple):
    """The state of a memory: its digest, its audit log and its ids."""

    digest: str
    events: tuple[str, ...]
    ids: frozenset[str]


Truth: TypeAlias = Mapping[str, Stands]


@dataclass(frozen=True, slots=True)
class Moment:
    """A copy of the folder after a session, and its content; a killed server left its logs.

    ``unlearned`` are the ids of each memory that were unlearned and not inserted again.
    """

    folder: Path
    truth: Truth
    unlearned: Mapping[str, frozenset[str]]
    killed: bool

    def back(self, found: Truth) -> list[str]:
        """Return the unlearned ids that were found again, and are not in the present content."""
        return [
            id
            for name, held in found.items()
            for id in (held.ids & self.unlearned[name]) - self.truth[name].ids
        ]


@dataclass
class History:
    """The writes of one server to its folder, session after session."""

    chance: random.Random
    unlearned: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in NAMES})
    inserted: int = 0

    def write(self, client: Client, name: str) -> None:
        """Make one random write, other than unlearning."""
        memory = client.memory(name)
        ids = sorted(each.id for each in memory.entries())
        what = self.chance.choice(["insert", "insert", "update", "delete", "again"])
        if what == "update" and ids:
            memory.update(self.chance.choice(ids), label=f"label {self.chance.random()}")
        elif what == "delete" and len(ids) > 2:
            memory.delete(ids=[self.chance.choice(ids)])
        elif what == "again" and (gone := sorted(self.unlearned[name].difference(ids))):
            self.insert(client, name, self.chance.choice(gone))
        else:
            self.insert(client, name, f"{name} {self.inserted}")

    def insert(self, client: Client, name: str, id: str) -> None:
        self.inserted += 1
        self.unlearned[name].discard(id)
        vector = np.random.default_rng(self.inserted).normal(size=(1, DIMENSION))
        client.memory(name).insert(vectors=vector, labels=[f"label {self.inserted}"], ids=[id])

    def unlearn(self, client: Client) -> None:
        name = self.chance.choice(NAMES)
        ids = sorted(each.id for each in client.memory(name).entries())
        gone = self.chance.sample(ids, 1)
        client.memory(name).unlearn(ids=gone)
        self.unlearned[name].update(gone)

    def session(self, server: Server, folder: Path, *, first: bool, kill: bool) -> Moment:
        """Write, perhaps unlearn, end the server, and copy the folder."""
        with visual_memory.connect(server.address) as client:
            for name in NAMES if first else ():
                client.create_memory(name, dimension=DIMENSION)
                for _ in range(12):
                    self.insert(client, name, f"{name} {self.inserted}")
            if not first and self.chance.random() < 0.7:
                self.unlearn(client)
            for _ in range(STEPS):
                for name in NAMES:
                    self.write(client, name)
        server.end(signal.SIGKILL if kill else signal.SIGTERM)
        shutil.copytree(server.data, folder)
        unlearned = {name: frozenset(ids) for name, ids in self.unlearned.items()}
        return Moment(folder, truth_of(folder), unlearned, kill)


def truth_of(folder: Path) -> Truth:
    """Return the content of a sound folder, read from a copy."""
    copy = shutil.copytree(folder, folder.with_name("looked at"))
    try:
        found, problems = opened(copy)
    finally:
        shutil.rmtree(copy)
    assert not problems, problems
    return found


def opened(folder: Path) -> tuple[Truth, list[str]]:
    """Open a folder as ``check --data`` does; return its content and the names of its refusals."""
    found, problems = {}, []
    try:
        catalog = Catalog(folder)
    except MemoryRefusal as refusal:
        return {}, [type(refusal).__name__]
    with closing(catalog):
        for name in catalog.names():
            try:
                with closing(catalog.open(name)) as memory:
                    memory.check()
                    found[name] = stands(memory)
            except MemoryRefusal as refusal:
                problems.append(type(refusal).__name__)
    return found, problems


def stands(memory: Memory) -> Stands:
    events = memory.audit_events(limit=10_000).events
    return Stands(
        memory.info().digest, tuple(each.to_json() for each in events), frozenset(memory.ids())
    )


def file_of(folder: Path, name: str) -> Path:
    (path,) = (folder / "memories").glob(f"{name}.*.sqlite")
    return path


def beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def put(source: Path, target: Path, ends: tuple[str, ...] = ENDS) -> None:
    """Replace these files of a database by those of another, and remove the index of the log."""
    for end in ends:
        beside(target, end).unlink(missing_ok=True)
        if beside(source, end).exists():
            shutil.copy(beside(source, end), beside(target, end))
    beside(target, "-shm").unlink(missing_ok=True)


# What can be done to a folder of now, with one of then


Deed: TypeAlias = "Callable[[Path, Path, str, random.Random], None]"


def older_file(now: Path, then: Path, name: str, chance: random.Random) -> None:
    put(file_of(then, name), file_of(now, name))


def older_file_alone(now: Path, then: Path, name: str, chance: random.Random) -> None:
    """Put back the file; the log, if any, stays the latest."""
    put(file_of(then, name), file_of(now, name), ("",))


def older_log(now: Path, then: Path, name: str, chance: random.Random) -> None:
    put(file_of(then, name), file_of(now, name), ("-wal",))


def older_files(now: Path, then: Path, name: str, chance: random.Random) -> None:
    for each in NAMES:
        older_file(now, then, each, chance)


def older_file_with_its_note(now: Path, then: Path, name: str, chance: random.Random) -> None:
    older_file(now, then, name, chance)
    shutil.copytree(then / "noted", now / "noted", dirs_exist_ok=True)


def older_catalog(now: Path, then: Path, name: str, chance: random.Random) -> None:
    put(then / "catalog.sqlite", now / "catalog.sqlite")


def no_catalog(now: Path, then: Path, name: str, chance: random.Random) -> None:
    for end in ENDS:
        beside(now / "catalog.sqlite", end).unlink(missing_ok=True)


def exchanged(now: Path, then: Path, name: str, chance: random.Random) -> None:
    other = chance.choice([each for each in NAMES if each != name])
    for end in ENDS:
        one, two = beside(file_of(now, name), end), beside(file_of(now, other), end)
        contents = [path.read_bytes() if path.exists() else None for path in (two, one)]
        for path, content in zip((one, two), contents, strict=True):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)


def copied_over(now: Path, then: Path, name: str, chance: random.Random) -> None:
    other = chance.choice([each for each in NAMES if each != name])
    put(file_of(chance.choice([now, then]), other), file_of(now, name))


def renamed(now: Path, then: Path, name: str, chance: random.Random) -> None:
    file = file_of(now, name)
    for end in ENDS:
        if beside(file, end).exists():
            beside(file, end).rename(beside(file.with_name("moved.sqlite"), end))


def added(now: Path, then: Path, name: str, chance: random.Random) -> None:
    put(file_of(then, name), now / "memories" / "older.sqlite")


def lost_log(now: Path, then: Path, name: str, chance: random.Random) -> None:
    beside(file_of(now, name), "-wal").unlink(missing_ok=True)
    beside(file_of(now, name), "-shm").unlink(missing_ok=True)


def damaged_log(now: Path, then: Path, name: str, chance: random.Random) -> None:
    log = beside(file_of(now, name), "-wal")
    beside(file_of(now, name), "-shm").unlink(missing_ok=True)
    data = bytearray(log.read_bytes() if log.exists() else b"")
    if not data:
        return
    at = chance.randrange(len(data))
    match chance.choice(["bit", "zeroed", "cut", "swapped"]):
        case "bit":
            data[at] ^= 1 << chance.randrange(8)
        case "zeroed":
            data[at : at + 4096] = bytes(len(data[at : at + 4096]))
        case "cut":
            del data[at:]
        case "swapped":
            half = at // 2
            data[:half], data[half : 2 * half] = data[half : 2 * half], data[:half]
    log.write_bytes(data)


def lost_log_of_the_catalog(now: Path, then: Path, name: str, chance: random.Random) -> None:
    for end in ENDS[1:]:
        beside(now / "catalog.sqlite", end).unlink(missing_ok=True)


def whole_folder(now: Path, then: Path, name: str, chance: random.Random) -> None:
    shutil.rmtree(now)
    shutil.copytree(then, now)


DEEDS: tuple[Deed, ...] = (
    *(older_file, older_file_alone, older_log, older_files, older_file_with_its_note),
    *(older_catalog, no_catalog, exchanged, copied_over, renamed, added),
    *(lost_log, damaged_log, lost_log_of_the_catalog),
)
# A file with its note in ``noted`` is seen where the catalog noted something later: unlearnings.
SEEN_LATER = (older_file_with_its_note,)
NEEDS_LOG = (older_file_alone, lost_log, damaged_log, lost_log_of_the_catalog)


@dataclass
class Tally:
    """The outcomes by kind of change, and the failures."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{count:5} {outcome}" for outcome, count in sorted(self.outcomes.items())]
        return "\n".join([*lines, *self.failures[:10]])


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> list[Moment]:
    """The folder of one server after each session."""
    folder = tmp_path_factory.mktemp("history")
    history = History(random.Random(random.random()))
    moments: list[Moment] = []
    server = Server(folder / "data")
    for number in range(SESSIONS):
        kill = number % 2 == 1 or number == SESSIONS - 1
        kept = folder / f"{number}"
        moments.append(history.session(server, kept, first=not number, kill=kill))
        if number < SESSIONS - 1:
            server.start()
    return moments


def test_what_is_put_back_exchanged_or_lost_is_noticed(
    moments: list[Moment], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, tally = random.Random(random.random()), Tally()
    for number in range(ROLLBACKS):
        deed = DEEDS[number % len(DEEDS)]
        ends = [each for each in moments[1:] if each.killed] if deed in NEEDS_LOG else moments[1:]
        now = chance.choice(ends)
        then = chance.choice(moments[: moments.index(now)])
        folder = Path(shutil.copytree(now.folder, tmp_path / "folder"))
        deed(folder, then.folder, chance.choice(NAMES), chance)
        judge(tally, deed, folder, now)
        shutil.rmtree(folder)
    with capsys.disabled():
        print(f"\n{ROLLBACKS} folders\n{tally}")
    assert not tally.failures, tally


def judge(tally: Tally, deed: Deed, folder: Path, now: Moment) -> None:
    """Check that a change is noticed or harmless; accepting it must restore nothing unlearned."""
    marks = marks_in(folder)
    found, problems = opened(folder)
    outcome = "as it was"
    if problems:
        outcome = ", ".join(sorted(set(problems)))
        accept_all(folder)
        found, _ = opened(folder)
    elif found != now.truth or marks != marks_in(now.folder):
        outcome = "not seen, as documented" if deed in SEEN_LATER else "UNNOTICED"
    tally.outcomes[f"{deed.__name__}: {outcome}"] += 1
    back = now.back(found)
    if back or outcome == "UNNOTICED":
        tally.failures.append(f"{deed.__name__} of {now.folder.name}: {outcome}, {back} are back")


def marks_in(folder: Path) -> int:
    """Count the entries that the catalog marks as unlearned."""
    if not (folder / "catalog.sqlite").exists():
        return 0
    copy = folder.with_name("marks.sqlite")
    put(folder / "catalog.sqlite", copy, ENDS[:2])
    with closing(sqlite3.connect(copy)) as db:
        count: int = db.execute("SELECT count(*) FROM tombstones").fetchone()[0]
    return count


def accept_all(folder: Path) -> None:
    """Accept all doubtful memories, as ``visual-memory accept`` would, if possible."""
    try:
        catalog = Catalog(folder)
    except MemoryRefusal:
        return
    with closing(catalog):
        for name in NAMES:
            try:
                doubt = catalog.doubt(name)
                if doubt is not None:
                    with catalog.accepting(doubt, settings=()) as rebuilt:
                        catalog.accept(doubt, rebuilt)
            except MemoryRefusal:
                continue


def test_a_whole_folder_of_before_cannot_be_noticed(moments: list[Moment], tmp_path: Path) -> None:
    folder = shutil.copytree(moments[-1].folder, tmp_path / "folder")

    whole_folder(folder, moments[0].folder, "", random.Random(0))

    assert opened(folder) == (moments[0].truth, [])


def test_a_copy_of_a_folder_that_is_written_to_is_whole_or_refused(
    moments: list[Moment], tmp_path: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start(Path(shutil.copytree(moments[-1].folder, tmp_path / "data")))
    over, tally = threading.Event(), Tally()

    def write() -> None:
        history = History(random.Random(0), inserted=10_000)
        with visual_memory.connect(server.address) as client:
            while not over.is_set():
                for name in NAMES:
                    history.write(client, name)

    writer = threading.Thread(target=write)
    writer.start()
    copies = [tmp_path / f"copy {number}" for number in range(max(2, ROLLBACKS // 20))]
    for copy in copies:
        shutil.copytree(server.data, copy)
    over.set()
    writer.join()
    server.end()
    last = truth_of(server.data)
    for copy in copies:
        found, problems = opened(copy)
        for problem in set(problems) or {"whole"}:
            tally.outcomes[problem] += 1
        for name, held in found.items():
            events = last[name].events
            assert held.events == events[: len(held.events)]
    with capsys.disabled():
        print(f"\n{len(copies)} copies of a folder that is written to\n{tally}")


def test_a_server_names_what_it_refuses_and_serves_the_rest(
    moments: list[Moment], tmp_path: Path, start: Start
) -> None:
    folder = Path(shutil.copytree(moments[-1].folder, tmp_path / "folder"))
    older_file(folder, moments[0].folder, "birds", random.Random(0))
    added(folder, moments[0].folder, "fish", random.Random(0))

    server = start(folder)

    with visual_memory.connect(server.address) as client:
        assert {each.name for each in client.memories() if not each.damage} == {"fish", "frogs"}
        with pytest.raises(visual_memory.Error) as caught:
            list(client.memory("birds").entries())
        assert caught.value.reason == "OLDER_MEMORY"
        assert "acknowledged writes are missing" in str(caught.value)
    assert server.end() == 0
    assert '"event": "memory not opened"' in server.last_log
    assert "has no such file" in server.last_log
