"""Writers that make random writes of every kind, and keep a ledger of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from tests.conftest import OPTIONS, to_picture, to_vectors
from tests.durability.ledger.contents import COUNTED_K
from tests.durability.ledger.ledger import (
    KEY,
    WRITER,
    Ledger,
    Remembered,
    Write,
    created,
    deleted,
    dropped,
    inserted,
    pruned,
    purged,
    relabelled,
    unchanged,
    undone,
    updated,
)

from visual_memory.v1 import entry_pb2, operation_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb

SHARED = "pets"
DIMENSION = 16
LABELS = ("cat", "dog", "fox")
LARGE = to_picture(0, (1000, 1000), "BMP")
LOG_BYTES = 17 << 20  # after which SQLite makes a checkpoint
PICTURES = tuple(to_picture(seed, (16, 12)) for seed in range(4))
ENTRIES_MAX = 40
FIRST = {"create": "drop", "drop": "create", "undo": "relabel"}  # what a kind may need; else insert
SECONDS = 30.0
BROKEN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


def create_shared(stub: Any) -> None:
    """Create the memory that all writers write to."""
    stub.CreateMemory(pb.CreateMemoryRequest(name=SHARED, dimension=DIMENSION, store_images=True))


class OperationFailed(Exception):
    """An operation ended, but failed; the message says why."""


class Line:
    """A connection whose calls may take ``seconds`` and are numbered, for recordings."""

    def __init__(self, address: str, seconds: float) -> None:
        self._seconds = seconds
        self.channel = grpc.insecure_channel(address, options=OPTIONS)
        self.stub = service_pb2_grpc.VisualMemoryStub(self.channel)
        self.calls = 0
        self.call("GetServerInfo", pb.GetServerInfoRequest())

    def call(self, method: str, request: Any) -> Any:
        """Make a call and return its answer, or a stream if ``request`` is an iterator."""
        self.calls += 1
        return getattr(self.stub, method)(request, timeout=self._seconds)

    def close(self) -> None:
        self.channel.close()


class Writer:
    """A client that writes to the shared memory and to a memory of its own.

    Raises grpc.RpcError if a call fails, and OperationFailed; the ledger is kept then too.
    """

    def __init__(self, name: str, chance: random.Random) -> None:
        self.ledger = Ledger(name, [SHARED])
        self._pictures: Sequence[bytes] = PICTURES
        self._name, self._chance = name, chance
        self._number = 0
        self._line: Line | None = None
        self._kinds: dict[str, tuple[int, Callable[[str], list[Write]]]] = {
            "create": (3, self._create),
            "insert": (8, self._insert),
            "replace": (3, self._replace),
            "import": (4, self._import),
            "update": (4, self._update),
            "delete": (4, self._delete),
            "purge": (2, self._purge),
            "prune": (3, self._prune),
            "relabel": (3, self._relabel),
            "undo": (4, self._undo),
            "drop": (1, self._drop),
        }

    @property
    def kinds(self) -> Sequence[str]:
        """Return the kinds of writes."""
        return list(self._kinds)

    def connect(self, address: str, *, seconds: float = SECONDS) -> None:
        """Write to the server at ``address`` from now on; a call may take ``seconds``."""
        self.close()
        self._line = Line(address, seconds)

    def close(self) -> None:
        """Close the connection."""
        if self._line is not None:
            self._line.close()

    def step(self) -> None:
        """Make a write of a random kind."""
        kinds = self.kinds
        while True:
            weights = [self._weight(kind) for kind in kinds]
            if flight := self.prepare(self._chance.choices(kinds, weights)[0]):
                self.send(flight)
                return

    def _weight(self, kind: str) -> int:
        many = sum(len(part.entries) for part in self.ledger.state.values()) > ENTRIES_MAX
        if many and kind in ("insert", "import"):
            return 0
        return self._kinds[kind][0]

    def prepare(self, kind: str) -> list[Write]:
        """Return writes of one kind to send together; none if nothing fits the kind."""
        self._number += 1
        own = [name for name in self.ledger.state if name != SHARED]
        if kind in ("create", "drop"):
            memory = f"{self._name}-own"
            return self._kinds[kind][1](memory) if (memory in own) == (kind == "drop") else []
        return self._kinds[kind][1](self._chance.choice([SHARED, SHARED, *own]))

    def ready(self, kind: str) -> list[Write]:
        """Return writes of one kind to send together, after making writes that they need."""
        if sum(len(part.entries) for part in self.ledger.state.values()) > ENTRIES_MAX:
            for label in LABELS:
                self._number += 1
                self.send(self._purge(SHARED, label))
        while not (flight := self.prepare(kind)):
            self.send(self.prepare(FIRST.get(kind, "insert")) or self.prepare("insert"))
        return flight

    def do(self, kind: str) -> None:
        """Make a write of this kind."""
        self.send(self.ready(kind))

    def send(self, flight: Sequence[Write]) -> None:
        """Send writes, perhaps again, and note their answers in the ledger."""
        self.ledger.sent(flight)
        try:
            for answer, receipt in self._answers(flight):
                self.ledger.answered(answer, receipt)
        except grpc.RpcError as error:
            if error.code() not in BROKEN:
                self.ledger.refused()
            raise
        except OperationFailed:
            self.ledger.refused()
            raise

    def make_up(self) -> None:
        """Get the answers of writes found to be done, and repeat the others, after ``settle``."""
        assert self._line is not None
        while self.ledger.unheard:
            write = self.ledger.unheard.pop(0)
            if write.requests:
                self.ledger.heard(write, write.send(self._line.stub))
        if self.ledger.under_way:
            with suppress(OperationFailed):  # one that was cut short, and stays so
                self.send(list(self.ledger.under_way))

    def fill_log(self) -> None:
        """Insert large pictures until SQLite makes a checkpoint."""
        self._pictures, written = [LARGE], 0
        while written < LOG_BYTES:
            (write,) = self.prepare("insert")
            written += write.requests[0].ByteSize()
            self.send([write])
        self._pictures = PICTURES

    def count(self) -> None:
        """Ask for misleading counts, so that the server keeps their lists when it stops."""
        assert self._line is not None
        request = pb.GetMisleadingCountsRequest(memory=SHARED, k=COUNTED_K)
        self._line.call("GetMisleadingCounts", request)

    def _answers(self, flight: Sequence[Write]) -> Iterator[tuple[Any, tuple[int, int]]]:
        """Send writes; yield the answer and receipt of each."""
        line, first, several = self._line, flight[0], len(flight) > 1
        assert line is not None
        if first.batch:
            yield from self._stored(line, flight)
            return
        if first.requests:
            answer = line.call(first.method, first.requests[0])
            yield answer, (line.calls - 1, 0)
        else:
            name = self.ledger.names[self.ledger.writes[-2].request_id]
            answer = line.call("GetOperation", pb.GetOperationRequest(name=name))
        if several or not first.requests:
            self._await(line, answer)
            yield None, (line.calls - 1, 0)

    def _stored(self, line: Line, flight: Sequence[Write]) -> Iterator[tuple[Any, tuple[int, int]]]:
        """Send the batches of an import; yield the answer and receipt of each."""
        requests = [flight[0].requests[0], *(write.requests[1] for write in flight)]
        begun = False
        for number, answer in enumerate(line.call("ImportEntries", iter(requests))):
            if begun:
                yield answer, (line.calls - 1, number)
            begun = begun or not answer.ids  # before that come those of an earlier try

    def _await(self, line: Line, operation: operation_pb2.Operation) -> None:
        while operation.state == operation_pb2.Operation.RUNNING:
            request = pb.WaitOperationRequest(name=operation.name, timeout=Duration(seconds=1))
            operation = line.call("WaitOperation", request)
        if operation.state != operation_pb2.Operation.DONE:
            raise OperationFailed(operation.problem)

    def _id(self) -> str:
        return f"{self._name} {self._number}"

    def _create(self, memory: str) -> list[Write]:
        request = pb.CreateMemoryRequest(
            name=memory,
            dimension=DIMENSION,
            store_images=self._chance.random() < 0.5,
            request_id=self._id(),
        )
        return [Write(memory, "CreateMemory", [request], created(memory))]

    def _drop(self, memory: str) -> list[Write]:
        request = pb.DeleteMemoryRequest(name=memory, request_id=self._id())
        return [Write(memory, "DeleteMemory", [request], dropped(memory))]

    def _insert(self, memory: str) -> list[Write]:
        count = self._chance.randint(1, 5)
        ids = [f"{self._id()} {number}" for number in range(count)]
        if self._chance.random() < 0.3:
            ids = [""] * count
        batch, entries = self._batch(memory, [f"{self._id()} {n}" for n in range(count)], ids)
        request = pb.InsertEntriesRequest(memory=memory, batch=batch, request_id=self._id())
        return [Write(memory, "InsertEntries", [request], inserted(memory, entries), list(entries))]

    def _replace(self, memory: str) -> list[Write]:
        new, known = f"{self._id()} 0", self._some(memory, 3)
        ids = [new, *self._ids(memory, known)]
        batch, entries = self._batch(memory, [new, *known], ids)
        request = pb.InsertEntriesRequest(
            memory=memory, batch=batch, request_id=self._id(), replace_existing=True
        )
        effect = inserted(memory, entries, replace_existing=True)
        return [Write(memory, "InsertEntries", [request], effect, list(entries))]

    def _import(self, memory: str) -> list[Write]:
        start = pb.ImportEntriesRequest(start=pb.ImportStart(memory=memory, request_id=self._id()))
        flight, offset = list[Write](), 0
        for _ in range(self._chance.randint(1, 4)):
            keys = [f"{self._id()} {offset + n}" for n in range(self._chance.randint(1, 4))]
            batch, entries = self._batch(memory, keys, keys)
            step = pb.ImportEntriesRequest(batch=pb.ImportBatch(offset=offset, batch=batch))
            effect = inserted(memory, entries, request_id=self._id(), offset=offset)
            flight.append(Write(memory, "ImportEntries", [start, step], effect, keys))
            offset += len(keys)
        return flight

    def _batch(
        self, memory: str, keys: Sequence[str], ids: Sequence[str]
    ) -> tuple[pb.EntryBatch, dict[str, Remembered]]:
        chance = np.random.default_rng(self._chance.randrange(2**32))
        rows = chance.normal(size=(len(keys), DIMENSION))
        vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")
        remembered = {
            key: Remembered(
                id,
                self._chance.choice(LABELS),
                {WRITER: self._name, KEY: key},
                vector.tobytes(),
                self._chance.choice([*self._pictures, b""]) if memory == SHARED else b"",
            )
            for key, id, vector in zip(keys, ids, vectors, strict=True)
        }
        entries = [
            entry_pb2.Entry(id=each.id, label=each.label, metadata=each.metadata, image=each.image)
            for each in remembered.values()
        ]
        return pb.EntryBatch(entries=entries, vectors=to_vectors(vectors)), remembered

    def _update(self, memory: str) -> list[Write]:
        if not (keys := self._some(memory, 1)):
            return []
        changes: dict[str, Any] = {}
        if self._chance.random() < 0.7:
            changes["label"] = self._chance.choice(LABELS)
        if not changes or self._chance.random() < 0.5:
            changes["metadata"] = {WRITER: self._name, KEY: keys[0], "note": self._id()}
        entry = entry_pb2.Entry(id=self._ids(memory, keys)[0], **changes)
        request = pb.UpdateEntryRequest(memory=memory, entry=entry, request_id=self._id())
        return [Write(memory, "UpdateEntry", [request], updated(memory, keys[0], **changes))]

    def _delete(self, memory: str) -> list[Write]:
        keys = self._some(memory, 3)
        if not keys:
            return []
        missing = self._chance.random() < 0.3
        request = pb.DeleteEntriesRequest(
            memory=memory,
            ids=[*self._ids(memory, keys), *(["unknown"] if missing else [])],
            allow_missing=missing,
            request_id=self._id(),
        )
        effect = deleted(memory, keys, allow_missing=missing)
        return [Write(memory, "DeleteEntries", [request], effect)]

    def _purge(self, memory: str, label: str = "") -> list[Write]:
        label = label or self._chance.choice(LABELS)
        request = pb.PurgeEntriesRequest(
            memory=memory,
            filter=f'metadata.{WRITER} = "{self._name}" AND label = "{label}"',
            apply=True,
            request_id=self._id(),
        )
        return [Write(memory, "PurgeEntries", [request], purged(memory, label))]

    def _prune(self, memory: str) -> list[Write]:
        entries = self.ledger.state[memory].entries
        keys = [key for key in self._some(memory, 3) if not entries[key].pruned_by]
        if not keys:
            return []
        request = pb.PruneEntriesRequest(
            memory=memory,
            ids=pb.IdsPrune(ids=self._ids(memory, keys)),
            apply=True,
            request_id=self._id(),
        )
        return [
            Write(memory, "PruneEntries", [request], unchanged),
            Write(memory, "PruneEntries", [], pruned(memory, keys, self._id())),
        ]

    def _relabel(self, memory: str) -> list[Write]:
        keys = self._some(memory, 4)
        if not keys:
            return []
        labels = {key: self._chance.choice(LABELS) for key in keys}
        request = pb.RelabelEntriesRequest(
            memory=memory,
            labels=dict(zip(self._ids(memory, keys), labels.values(), strict=True)),
            apply=True,
            request_id=self._id(),
        )
        return [Write(memory, "RelabelEntries", [request], relabelled(memory, labels, self._id()))]

    def _undo(self, memory: str) -> list[Write]:
        part = self.ledger.state[memory]
        standing = [
            each
            for each in part.operations
            if each not in part.undone and each in self.ledger.names
        ]
        if not standing:
            return []
        operation = self._chance.choice(standing)
        request = pb.UndoRequest(
            memory=memory, operation=self.ledger.names[operation], request_id=self._id()
        )
        return [Write(memory, "Undo", [request], undone(memory, operation))]

    def _some(self, memory: str, count_max: int) -> list[str]:
        """Return the keys of up to ``count_max`` random entries, at least one if there are any."""
        keys = list(self.ledger.state[memory].entries)
        return self._chance.sample(keys, min(len(keys), self._chance.randint(1, count_max)))

    def _ids(self, memory: str, keys: Sequence[str]) -> list[str]:
        entries = self.ledger.state[memory].entries
        return [entries[key].id or self.ledger.ids[key] for key in keys]
