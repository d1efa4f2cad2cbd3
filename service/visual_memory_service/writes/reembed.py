"""Re-embedding: the pictures of a memory are embedded anew while it serves, then it is replaced."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from visual_memory_embedders import EmbedderSpec
from visual_memory_embedders.errors import UndecodableImage, WrongEmbedder
from visual_memory_embedders.pipeline import AT_ONCE
from visual_memory_index import (
    REEMBED,
    RESUMED,
    UNLEARN,
    Memory,
    NewVectors,
    Operation,
    Reembedded,
    Request,
    Transaction,
)
from visual_memory_service.errors import BadField, BeingReembedded, ErasureWaits, NoEmbedder
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Cancelled, Job, Operations, pauses
from visual_memory_service.runtime.served_memory import ServedMemory

PICTURES_AT_ONCE, PAUSE_SECONDS = 64, 0.2
WAITED_FOR = 8  # pictures that one of a call may have to wait for
FREE_TRIES = 3  # to replace a memory while it may be written
REPLACED = "The memory gets other vectors at this moment; start it again."


@dataclass(frozen=True, slots=True)
class ReembedResult:
    """Result of a re-embedding, as ReembedResult in operation.proto."""

    embedder: str
    former_name: str
    count: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Reembedding:
    """Starts re-embeddings, and resumes those that a restart or an unlearning interrupted.

    ``dropped`` are names of settings that depend on vectors. While a memory is copied with its new
    vectors it may be written, and is copied again; after some tries writes are refused meanwhile.
    """

    memories: Memories
    operations: Operations
    dropped: Sequence[str]
    _beginning: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, memory: Memory, embedder: str, former_name: str, request: Request) -> Operation:
        """Start to embed a memory's pictures anew; the former is kept as ``former_name``.

        Raises NoEmbedder, BadField, BeingReembedded, ErasureWaits, TooManyOperations, NoPictures,
        MemoryExists, EmbedderNotAllowed, RequestReused, FileUnavailable, and errors of building the
        embedder.
        """
        name = memory.identity.name
        if memory.identity.embedder is None:
            raise NoEmbedder(name)
        if former_name == name:
            raise BadField("former_name", "must be another name than that of the memory itself")
        spec = self.memories.embedders.get(embedder).spec
        draft = json.dumps(asdict(ReembedResult(embedder, former_name)))
        with self._beginning:
            if memory.recall(request) is None:
                self.operations.check_room(name)
                for other in memory.operations.unfinished(REEMBED):
                    if memory.operations.get(other.name).state == "running":
                        raise BeingReembedded(other.name)
                check_erasures(memory)
                memory.new_vectors(spec.to_json(), spec.dimension).check_pictures()
                self.memories.check_free(former_name, request.id)
            started = memory.operations.begin(REEMBED, draft=draft, request=request)
        if not started.again:
            self.operations.resume(memory, started.operation, self._work)
        return started.operation

    def resume(self, name: str) -> None:
        """Resume a memory's re-embeddings; if the memory is refused, only log that."""

        def start(operation: Operation, served: ServedMemory) -> None:
            self.operations.resume(served.memory, operation, self._work)

        self.memories.go_on(name, REEMBED, start)

    def _work(self, job: Job) -> None:
        asked = ReembedResult(**json.loads(job.operation.result or "{}"))
        spec = self.memories.embedders.get(asked.embedder).spec
        new = job.memory.new_vectors(spec.to_json(), spec.dimension)
        job.retry_while(new.drop_others)
        memory = job.memory
        identity = replace(memory.identity, dimension=spec.dimension, embedder=spec.to_json())
        change = Reembedded(identity, new.of, self.dropped)

        def finish(transaction: Transaction) -> None:
            done = replace(asked, count=transaction.count())
            principal, began = job.operation.principal, job.operation.created_at
            transaction.begin(job.name, REEMBED, principal, created_at=began)
            transaction.end(job.name, "done", result=json.dumps(asdict(done)))
            transaction.log("ReembedMemory", done.count, principal)

        def hold() -> bool:
            if memory.operations.unfinished(UNLEARN):
                return False
            memory.operations.end_stale(REPLACED)
            self._embed_missing(job, asked, spec, new)
            return True

        tried = 0

        def attempt() -> Memory | None:
            nonlocal tried
            before, tried = tried, 0  # after a lack of disk it may be written again
            check_erasures(memory)
            self._embed_missing(job, asked, spec, new)
            while self.operations.running(job.memory_name, UNLEARN):
                job.pause(PAUSE_SECONDS)
            if memory.operations.get(job.name).state != "running":
                raise Cancelled
            waits = before >= FREE_TRIES
            with ExitStack() as held:
                if waits:
                    suspended = self.operations.suspend_others(
                        job.memory_name, reason=REPLACED, except_kinds=RESUMED
                    )
                    held.enter_context(suspended)
                replaced = self.memories.reembed(
                    memory,
                    change,
                    asked.former_name,
                    finish,
                    operation=job.name,
                    hold=hold if waits else None,
                    check=job.check,
                )
            tried = before + 1
            return replaced

        for pause in pauses():
            if (replaced := job.retry_while(attempt)) is not None:
                job.memory = replaced
                return
            job.pause(pause)

    def _embed_missing(
        self, job: Job, asked: ReembedResult, spec: EmbedderSpec, new: NewVectors
    ) -> None:
        """Embed the pictures of a job's memory that have no new vectors yet, and store these.

        No embedder is held longer than for some pictures: an unlearning may have to drop it.
        """
        new.check_pictures()
        done = new.count()
        while pictures := new.missing(PICTURES_AT_ONCE):
            job.report_progress(done, max(done + len(pictures), job.memory.info().count))
            self.memories.check_free(asked.former_name, "")
            vectors, size = [], WAITED_FOR if spec.bit_equal else AT_ONCE
            for start in range(0, len(pictures), size):
                embedder = self.memories.embedders.get(asked.embedder)
                if embedder.spec != spec:
                    raise WrongEmbedder(spec, embedder.spec)
                part = pictures[start : start + size]
                try:
                    vectors.append(embedder.embed([each.image for each in part]))
                except UndecodableImage as bad:
                    field = f'The picture of "{part[bad.position].id}"'
                    raise BadField(field, bad.problem) from None
            new.keep([each.key for each in pictures], np.concatenate(vectors))
            done += len(pictures)


def check_erasures(memory: Memory) -> None:
    """Check that no unlearning waits for the next start. Raises ErasureWaits."""
    for each in memory.operations.unfinished(UNLEARN):
        if memory.operations.get(each.name).state != "running":
            raise ErasureWaits(each.name)
