"""Re-embedding: the pictures of a memory are embedded anew while it serves, then it is replaced."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count

import numpy as np
import structlog

from visual_memory_embedders import Embedder
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
    errors,
)
from visual_memory_index.errors import MemoryRefusal, UnknownMemory
from visual_memory_service.errors import BeingReembedded
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Cancelled, Job, Operations

PICTURES_AT_ONCE, PAUSE_SECONDS = 64, 0.2
WAITED_FOR = 8  # pictures that one of a call may have to wait for
FREE_TRIES = 3  # to replace a memory while it may be written
REPLACED = "What it worked on was replaced by a memory with other vectors; start it again."
log = structlog.get_logger()


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
    vectors it may be written, and is copied again; after some tries writes wait.
    """

    memories: Memories
    operations: Operations
    dropped: Sequence[str]

    def begin(self, memory: Memory, embedder: str, former_name: str, request: Request) -> Operation:
        """Start to embed a memory's pictures anew; the former is kept as ``former_name``.

        Raises BeingReembedded, NoPictures, MemoryExists, EmbedderNotAllowed, RequestReused,
        FileUnavailable, and errors of building the embedder.
        """
        if memory.recall(request) is None:
            for other in memory.operations.unfinished(REEMBED):
                raise BeingReembedded(other.name)
            spec = self.memories.embedders.get(embedder).spec
            memory.new_vectors(spec.to_json(), spec.dimension).check_pictures()
            self.memories.check_free(former_name, request.id)
        draft = json.dumps(asdict(ReembedResult(embedder, former_name)))
        started = memory.operations.begin(REEMBED, draft=draft, request=request)
        if not started.again:
            self._start(started.operation, memory)
        return started.operation

    def resume(self, name: str) -> None:
        """Resume a memory's re-embeddings; if the memory is refused, only log that."""
        try:
            with self.memories.visiting(name) as served:
                for operation in served.memory.operations.unfinished(REEMBED):
                    self._start(operation, served.memory)
        except UnknownMemory:  # dropped since
            return
        except MemoryRefusal as refusal:
            reason = errors.in_full(refusal)
            log.warning("re-embedding waits for the next start", memory=name, problem=reason)

    def _start(self, operation: Operation, memory: Memory) -> None:
        self.operations.resume(memory, operation, self._work)

    def _work(self, job: Job) -> None:
        asked = ReembedResult(**json.loads(job.operation.result or "{}"))
        embedder = self.memories.embedders.get(asked.embedder)
        new = job.memory.new_vectors(embedder.spec.to_json(), embedder.spec.dimension)
        try:
            self._reembed(job, asked, embedder, new)
        except Cancelled:
            if not job.stopped:
                new.drop()
            raise

    def _reembed(self, job: Job, asked: ReembedResult, embedder: Embedder, new: NewVectors) -> None:
        memory, spec = job.memory, embedder.spec
        identity = replace(memory.identity, dimension=spec.dimension, embedder=spec.to_json())
        change = Reembedded(identity, new.of, self.dropped)

        def finish(transaction: Transaction) -> None:
            done = replace(asked, count=transaction.count())
            transaction.begin(job.name, REEMBED, job.operation.principal)
            transaction.end(job.name, "done", result=json.dumps(asdict(done)))
            transaction.log("ReembedMemory", done.count, job.operation.principal)

        def embed() -> None:
            new.check_pictures()
            embed_missing(job, embedder, new)

        for tried in count():
            embed()
            while self.operations.running(job.memory_name, UNLEARN):
                job.pause(PAUSE_SECONDS)
            with self.operations.suspend_others(
                job.memory_name, reason=REPLACED, except_kinds=RESUMED
            ):
                replaced = self.memories.reembed(
                    memory,
                    change,
                    asked.former_name,
                    finish,
                    operation=job.name,
                    hold=embed if tried >= FREE_TRIES else None,
                    check=job.check,
                )
            if replaced is not None:
                job.memory = replaced
                return
            job.pause(PAUSE_SECONDS)


def embed_missing(job: Job, embedder: Embedder, new: NewVectors) -> None:
    """Embed the pictures of a job's memory that have no new vectors yet, and store these."""
    done = new.count()
    while pictures := new.missing(PICTURES_AT_ONCE):
        job.report_progress(done, max(done + len(pictures), job.memory.info().count))
        starts = range(0, len(pictures), WAITED_FOR)
        parts = [pictures[start : start + WAITED_FOR] for start in starts]
        vectors = [embedder.embed([each.image for each in part]) for part in parts]
        new.keep([each.key for each in pictures], np.concatenate(vectors))
        done += len(pictures)
