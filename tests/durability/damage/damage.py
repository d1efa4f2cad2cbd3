"""Damage to files of a data folder, and a list of every question that a folder can answer.

A page of SQLite is damaged by kind: the schema, page headers, interior, leaf and overflow pages.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from visual_memory_index import (
    VOTINGS,
    Catalog,
    Entry,
    Memory,
    Parts,
    Query,
    Request,
    decide,
    parse,
    unit_rows,
)
from visual_memory_index.errors import MemoryRefusal
from visual_memory_index.files.database import PAGE_BYTES
from visual_memory_service.config import Settings
from visual_memory_service.runtime.memories import Memories

DIMENSION, ENTRIES, PICTURES = 48, 500, 24
HEADER_BYTES = 12
K = 5
FILTERS = (
    'label = "label 3"',
    'metadata.source = "web"',
    'metadata:file AND NOT label = "label 1"',
    'id = "entry 0007"',
    'id > "entry 0100" AND id < "entry 0140"',
    'create_time > "2001-01-01T00:00:00Z"',
    'pruned_by:"pets"',
)
ALL = Parts.VECTOR | Parts.IMAGE | Parts.THUMBNAIL
INSERTED = Request("inserted", b"its content")
UPDATED = Request("updated", b"its content")

Answer = Callable[[Memory], Any]


def make(folder: Path) -> None:
    """Write a folder with ``pets``, which has all that a memory can hold, and a small memory."""
    chance = np.random.default_rng(7)
    with closing(Catalog(folder)) as catalog:
        for name, dropped in (("pets", False), ("birds", False), ("gone", True)):
            memory = catalog.create(
                name,
                dimension=DIMENSION,
                embedder=None,
                store_images=True,
                request=Request(f"make {name}", b""),
            )
            assert memory is not None
            with closing(memory):
                fill(memory, chance, ENTRIES if name == "pets" else 40)
            if dropped:
                catalog.drop(name)
        with closing(catalog.open("birds")) as memory:
            catalog.mark_unlearned(memory, [f"gone {number}" for number in range(900)], "")


def fill(memory: Memory, chance: np.random.Generator, count: int) -> None:
    vectors = unit_rows(chance.standard_normal((count, DIMENSION)).astype(np.float32))
    pictures = [chance.bytes(1000 * (1 + number % 40)) for number in range(PICTURES)]
    entries = [entry_of(number, pictures) for number in range(count)]
    half = count // 2
    memory.insert(entries[:half], vectors[:half], request=INSERTED)
    memory.insert(entries[half:], vectors[half:])
    memory.insert(entries[:9], vectors[20:29], replace_existing=True)
    memory.delete(["entry 0009", "entry 0019"])
    pruned = memory.operations.begin("prune").operation.name
    memory.operations.prune([f"entry {n:04}" for n in (3, 12, 30)], operation=pruned, result=told)
    memory.operations.relabel({f"entry {n:04}": "relabelled" for n in range(20, 38)}, result=told)
    memory.update("entry 0001", metadata={"note": "ü" * 30}, request=UPDATED)
    memory.keep_setting("reranker", "crops", call="SetReranker")
    memory.keep_setting("curve", json.dumps([0.5] * 400), call="Set")
    memory.misleading_counts(K)


def entry_of(number: int, pictures: list[bytes]) -> Entry:
    image = pictures[number] if number < len(pictures) else b""
    return Entry(
        f"entry {number:04}",
        f"label {number % 7}",
        metadata={"source": "web" if number % 3 else "camera", "file": f"{number}.jpg" * 3},
        content_sha256=sha256(image).digest(),
        image=image,
        thumbnail=image[:700],
    )


def told(ids: list[str]) -> str:
    return json.dumps({"ids": ids})


# Answers


def essence(entry: Entry) -> Any:
    row = None if entry.vector is None else entry.vector.tobytes()
    texts = entry.id, entry.label, dict(entry.metadata), entry.created_at, entry.pruned_by
    return *texts, entry.content_sha256, row, entry.image, entry.thumbnail


def page(memory: Memory, **asked: Any) -> Any:
    return [essence(each) for each in memory.entries(limit=10_000, **asked).entries]


def neighbors(memory: Memory, filter: str = "", counts_k: int | None = None) -> Any:
    rows = unit_rows(np.random.default_rng(1).standard_normal((4, DIMENSION)).astype(np.float32))
    query = Query(rows, 30, filter=parse(filter), counts_k=counts_k)
    (found,) = memory.nearest([query])
    v = None if found.v is None else found.v.tolist()
    return found.ids.tolist(), found.labels.tolist(), found.distances.tolist(), v


def decisions(memory: Memory) -> Any:
    rows = unit_rows(np.random.default_rng(2).standard_normal((4, DIMENSION)).astype(np.float32))
    (found,) = memory.nearest([Query(rows, 30)])
    return [
        (each.label, dict(each.scores), each.confidence, each.weights.tolist())
        for voting in VOTINGS.values()
        for each in decide(found, voting)
    ]


def about(memory: Memory) -> Any:
    info = memory.info()
    counts = dict(info.label_counts), dict(info.pruned_counts)
    return (
        info.identity,
        *counts,
        info.revision,
        info.digest,
        list(memory.label_counts()),
        memory.count,
    )


def counts(memory: Memory) -> Any:
    found = memory.misleading_counts(K)
    columns = (each.tolist() for each in (found.ids, found.labels, found.v, found.c))
    return found.revision, sorted(zip(*columns, strict=True))


def purged(memory: Memory, text: str) -> Any:
    filter = parse(text)
    assert filter is not None
    return memory.would_purge(filter)


def operations(memory: Memory) -> Any:
    page = memory.operations.page(limit=100)
    return page, [memory.operations.get(each.name) for each in page]


ANSWERS: Mapping[str, Answer] = {
    "info": about,
    "settings": lambda memory: [memory.setting(name) for name in ("reranker", "curve")],
    "neighbors": neighbors,
    "decisions": decisions,
    "counts": counts,
    "soft": lambda memory: neighbors(memory, counts_k=K),
    "list": page,
    "list all": lambda memory: page(memory, parts=ALL),
    "later page": lambda memory: page(memory, after="entry 0300"),
    "entry": lambda memory: [essence(memory.entry(f"entry {n:04}", ALL)) for n in (0, 7, 30, 39)],
    "images": lambda memory: memory.images([f"entry {n:04}" for n in range(30)]),
    "thumbnails": lambda memory: memory.thumbnails([f"entry {n:04}" for n in range(30)]),
    "operations": operations,
    "audit": lambda memory: memory.audit_events(limit=1000),
    "recall": lambda memory: memory.recall(INSERTED),
    **{f"listed {text}": partial(page, filter=parse(text)) for text in FILTERS},
    **{f"near {text}": partial(neighbors, filter=text) for text in FILTERS},
    **{f"purge {text}": partial(purged, text=text) for text in FILTERS},
}


@dataclass
class Folder:
    """The answers of a folder by memory and question; a refused question has its refusal."""

    problem: str = ""
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def asked(folder: Path) -> Folder:
    """Open a folder as the server does, and ask every question.

    Raises every error that is not a MemoryRefusal.
    """
    found = Folder()
    try:
        memories = Memories(Settings(folder), lambda name, serves: None)
    except MemoryRefusal as refusal:
        found.problem = str(refusal)
        return found
    with closing(memories):
        for name in memories.names():
            try:
                memory = memories.use(name).memory
            except MemoryRefusal as refusal:
                found.refused[name] = str(refusal)
                continue
            answers = {}
            for question, answer in ANSWERS.items():
                try:
                    answers[question] = answer(memory)
                except MemoryRefusal as refusal:
                    answers[question] = refusal
            found.answers[name] = answers
    return found


def wrong(found: Folder, reference: Folder) -> list[str]:
    """List the answers that differ from those of ``reference``, and memories that are missing."""
    if found.problem:
        return []
    problems = [
        f"{name} is not named"
        for name in reference.answers.keys() - found.answers.keys() - found.refused.keys()
    ]
    for name, answers in found.answers.items():
        for question, answer in answers.items():
            if isinstance(answer, MemoryRefusal):
                continue
            if answer != reference.answers.get(name, {}).get(question, "nothing"):
                problems.append(f"{name}: {question} is another")
    return problems


# Damage


def places(path: Path) -> dict[str, list[int]]:
    """Return the numbers of a file's pages, from 0, by kind of page."""
    kinds: dict[str, list[int]] = {"schema": [0], "header": [], "free": []}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        for number, kind in db.execute("SELECT pageno, pagetype FROM dbstat"):
            kinds.setdefault(kind, []).append(number - 1)
    used = {number for numbers in kinds.values() for number in numbers}
    kinds["header"] = kinds["internal"] + kinds["leaf"] if "internal" in kinds else kinds["leaf"]
    kinds["free"] = [n for n in range(path.stat().st_size // PAGE_BYTES) if n not in used]
    return {kind: numbers for kind, numbers in kinds.items() if numbers}


def damaged(
    data: bytes, pages: Mapping[str, list[int]], chance: random.Random
) -> tuple[str, bytes]:
    """Damage a random page; return a description and the changed bytes."""
    kind = chance.choice(list(pages))
    number = chance.choice(pages[kind])
    start = number * PAGE_BYTES
    way = chance.choice(["bit"] * 6 + ["bytes"] * 2 + ["zeroed", "swapped", "cut", "cut anywhere"])
    changed = bytearray(data)
    match way:
        case "bit" | "bytes":
            size = HEADER_BYTES if kind == "header" else PAGE_BYTES
            place = place_in(data[start : start + size], chance) + start
            if way == "bit":
                changed[place] ^= 1 << chance.randrange(8)
            else:
                count = chance.randrange(1, 64)
                changed[place : place + count] = chance.randbytes(count)
                del changed[len(data) :]
        case "zeroed":
            changed[start : start + PAGE_BYTES] = bytes(PAGE_BYTES)
        case "swapped":
            other = chance.randrange(len(data) // PAGE_BYTES) * PAGE_BYTES
            changed[start : start + PAGE_BYTES] = data[other : other + PAGE_BYTES]
            changed[other : other + PAGE_BYTES] = data[start : start + PAGE_BYTES]
        case "cut":
            del changed[start:]
        case _:
            del changed[chance.randrange(len(data)) :]
    return f"{way} in {kind} page {number}", bytes(changed)


def place_in(page: bytes, chance: random.Random) -> int:
    """Return a random position in a page, mostly of a byte that is not zero."""
    used = [at for at, byte in enumerate(page) if byte]
    return chance.choice(used) if used and chance.random() < 0.9 else chance.randrange(len(page))


class Lab:
    """A folder that is damaged again and again, with the answers it gave before."""

    def __init__(self, work: Path) -> None:
        self.whole, self.work = work / "whole", work / "damaged"
        make(self.whole)
        self.reference = asked(self.whole)
        assert not self.reference.refused
        self.tally: Counter[str] = Counter()
        self.failures: list[str] = []
        self.pages = {
            name: (path.read_bytes(), places(path))
            for name in ("catalog", "pets")
            for path in [file_of(self.whole, name)]
        }

    def round(self, name: str, seed: int) -> None:
        """Damage one file, ask every question, and note the outcome."""
        done, data = damaged(*self.pages[name], random.Random(seed))
        folder = fresh(self.whole, self.work)
        file_of(folder, name).write_bytes(data)
        try:
            found = asked(folder)
        except Exception as error:  # the lab is to see all of them
            self.note("raised", f"{name} {seed}: {done}: {error!r}")
            return
        if problems := wrong(found, self.reference):
            self.note("wrong", f"{name} {seed}: {done}: {problems}")
        elif name == "pets" and (found.problem or "birds" in found.refused):
            self.note("others", f"{name} {seed}: {done}: {found.problem} {found.refused}")
        else:
            self.tally[outcome(found)] += 1

    def note(self, kind: str, problem: str) -> None:
        self.tally[kind] += 1
        self.failures.append(f"{kind}: {problem}")


def outcome(found: Folder) -> str:
    """Return the outcome of damage that led to no wrong answer."""
    if found.problem or found.refused:
        return "refused at the start"
    answers = [answer for each in found.answers.values() for answer in each.values()]
    refused = any(isinstance(answer, MemoryRefusal) for answer in answers)
    return "refused when asked" if refused else "answered as before"


def file_of(folder: Path, name: str) -> Path:
    if name == "catalog":
        return folder / "catalog.sqlite"
    (path,) = (folder / "memories").glob(f"{name}.*.sqlite")
    return path


def fresh(whole: Path, work: Path) -> Path:
    """Replace ``work`` by a copy of the folder."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(whole, work)
    return work


# Logs


class LogLab:
    """A folder as kill -9 leaves it, its log to be damaged, and its answers after each commit."""

    commits = 16

    def __init__(self, work: Path) -> None:
        self.killed, self.work = work / "killed", work / "damaged"
        make(work / "whole")
        self.tally: Counter[str] = Counter()
        self.failures: list[str] = []
        self.lost = 0
        with closing(Catalog(work / "whole")) as catalog, closing(catalog.open("pets")) as memory:
            self.states = [answers_of(memory)]
            for number in range(self.commits):
                edit(memory, number)
                self.states.append(answers_of(memory))
            fresh(work / "whole", self.killed)
        log = file_of(self.killed, "pets")
        self.log = log.with_name(f"{log.name}-wal").read_bytes()

    def round(self, seed: int) -> None:
        """Damage the log, open the folder, and check that the refusal counts the commits lost."""
        pages = {"log": list(range(len(self.log) // PAGE_BYTES))}
        done, data = damaged(self.log, pages, random.Random(seed))
        path = file_of(fresh(self.killed, self.work), "pets")
        path.with_name(f"{path.name}-wal").write_bytes(data)
        try:
            found = asked(self.work)
        except Exception as error:  # the lab is to see all of them
            self.failures.append(f"raised: {seed}: {done}: {error!r}")
            return
        state = self.states[-1]
        if not found.refused:
            state = found.answers["pets"]
        else:
            with suppress(MemoryRefusal), closing(Memory.open(path)) as memory:
                state = answers_of(memory)
        if state not in self.states:
            self.failures.append(f"no state that was: {seed}: {done}")
            return
        lost = self.commits - self.states.index(state)
        self.lost += lost
        self.tally["refused, some commits lost" if lost else "nothing lost"] += 1
        if lost and f"so {lost} acknowledged" not in found.refused.get("pets", ""):
            self.failures.append(f"{lost} lost without a word: {seed}: {done}: {found.refused}")


def answers_of(memory: Memory) -> dict[str, Any]:
    return {question: answer(memory) for question, answer in ANSWERS.items()}


def edit(memory: Memory, number: int) -> None:
    """Make one write; its kind depends on ``number``."""
    match number % 4:
        case 0:
            row = unit_rows(np.random.default_rng(number).standard_normal((1, DIMENSION), "f4"))
            memory.insert([entry_of(600 + number, [])], row)
        case 1:
            memory.update(f"entry {50 + number:04}", label="edited", metadata={"n": f"{number}"})
        case 2:
            memory.delete([f"entry {70 + number:04}"])
        case _:
            memory.keep_setting("reranker", f"number {number}", call="SetReranker")
