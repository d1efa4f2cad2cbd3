"""The client for asyncio: the same calls as the blocking one, to be awaited."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visual_memory._calls import audit as _audit
from visual_memory._calls import curation as _curation
from visual_memory._calls import decisions as _decisions
from visual_memory._calls import entries as _entries
from visual_memory._calls import memories as _memories
from visual_memory._calls import operations as _operations
from visual_memory._calls import queries as _queries
from visual_memory._calls import unlearn as _unlearn
from visual_memory._calls.curation import PruneHow
from visual_memory._calls.queries import Queries
from visual_memory._messages.call import Call
from visual_memory._messages.fields import Metadata
from visual_memory._messages.images import Images, SomeImages
from visual_memory._messages.insertion import Insertion
from visual_memory._messages.pace import FIRST_ITEMS, Pace, Paces
from visual_memory._transport.aio import Transport
from visual_memory._transport.connection import Endpoint, endpoint
from visual_memory._transport.imports import Import, Progress
from visual_memory.errors import NotFound
from visual_memory.proofs.audit import Log, gone
from visual_memory.types import (
    Assessment,
    AuditEvent,
    AuditHead,
    Calibration,
    CheckResult,
    Decision,
    Entry,
    Explanation,
    InsertResult,
    Limits,
    MemoryInfo,
    Neighbors,
    Operation,
    PruneResult,
    PurgeResult,
    RelabelResult,
    RestoreResult,
    ServerInfo,
    Taxonomy,
    UnlearnResult,
)

if TYPE_CHECKING:
    from visual_memory.proofs.certificate import Certificate, Source, Verification
    from visual_memory.proofs.keys import PublicKey

T = TypeVar("T")
PAUSE_SECONDS = 0.02


def connect(
    target: str,
    *,
    api_key: str | None = None,
    root_certificates: bytes | str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
) -> Client:
    """A client of the server at ``target``, HOST:PORT; the connection is made with the first call.

    ``root_certificates`` (PEM, or the path of a file with it) make it a TLS connection, and
    ``api_key`` goes with each call as a bearer token: both are for a proxy in front of the server.
    ``timeout`` bounds one message with its retries, in seconds, but of an import not the time in
    which the server says that it works; a refused connection is tried again for at most 5 s, or,
    of an import that was answered, until the timeout. Every call may raise ``Error`` and its kinds.
    """
    return Client(endpoint(target, api_key, root_certificates, timeout))


class Client:
    """A connection to one server; made by ``connect``, ended by ``close`` or ``with``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._transport = Transport(endpoint)
        self._known_server: ServerInfo | None = None
        self._paces: Paces = defaultdict(partial(Pace, endpoint.timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._endpoint.target}>"

    async def close(self) -> None:
        """End the connection; calls under way are cancelled."""
        await self._transport.close()

    async def server_info(self) -> ServerInfo:
        """The server's release, limits and embedders."""
        return await self._transport.do(_memories.server_info())

    async def create_memory(
        self,
        name: str,
        *,
        embedder: str | None = None,
        dimension: int | None = None,
        store_images: bool = False,
        request_id: str | None = None,
    ) -> Memory:
        """Make a memory for images (with ``embedder``) or for vectors (of one ``dimension``).

        Without either it is made with efficientnet-lite0. With ``store_images`` it keeps the
        pictures as they are sent, with thumbnails. Raises AlreadyExists, and FailedPrecondition
        where an older server made it without pictures.
        """
        await self._transport.do(
            _memories.create_memory(name, embedder, dimension, store_images, request_id)
        )
        return self.memory(name)

    def memory(self, name: str) -> Memory:
        """The memory of this name; nothing is asked of the server yet."""
        return Memory(self, name)

    async def memories(self) -> list[MemoryInfo]:
        """All memories, by name."""
        return [memory async for memory in self._pages(_memories.list_memories)]

    async def delete_memory(self, name: str, *, request_id: str | None = None) -> None:
        """Forget a memory with all its entries. Raises NotFound."""
        await self._transport.do(_memories.delete_memory(name, request_id))

    async def backup(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> int:
        """Write all of a memory, as it is now, to a file; how many bytes it has.

        The file is there whole or not at all. ``progress`` is called with the bytes that came, and
        about how many there will be. Raises NotFound, AlreadyExists.
        """
        return await self._transport.backup(name, path, overwrite, progress)

    async def restore(
        self,
        path: str | os.PathLike[str],
        name: str,
        *,
        request_id: str | None = None,
        progress: Progress | None = None,
    ) -> RestoreResult:
        """Make a backup a memory of this ``name``, without the entries that were unlearned since.

        ``progress`` is called with the bytes sent and all bytes; then the server does its part.
        Raises AlreadyExists, and InvalidArgument for what is no whole backup.
        """
        return await self._transport.restore(path, name, request_id, progress)

    async def copy(self, name: str, new_name: str, *, request_id: str | None = None) -> Memory:
        """Make a memory that holds what another does now. Raises NotFound, AlreadyExists."""
        await self._transport.do(_memories.copy_memory(name, new_name, request_id))
        return self.memory(new_name)

    async def operation(self, name: str) -> Operation:
        """An operation as it stands. Raises NotFound."""
        return await self._transport.do(_operations.get_operation(name))

    def operations(self, memory: str) -> AsyncIterator[Operation]:
        """The operations of a memory, the newest first, fetched page by page."""
        return self._pages(partial(_operations.list_operations, memory))

    async def wait(self, operation: str, *, progress: Progress | None = None) -> Operation:
        """Return when the operation has ended; ``progress`` is told what is done of how much.

        Raises FailedPrecondition where it has to wait, as for a full disk; it goes on by itself.
        """
        while True:
            found = await self._transport.do(_operations.wait_operation(operation))
            if _operations.has_ended(found):
                return found
            if progress is not None:
                progress(found.done, found.total)
            await asyncio.sleep(PAUSE_SECONDS)

    async def certificate(self, operation: str) -> Certificate:
        """What an unlearning certified. Raises NotFound, FailedPrecondition if it did not yet."""
        return await self._transport.do(_unlearn.get_certificate(operation))

    async def verify(
        self,
        path_or_certificate: Source | Certificate,
        public_key: PublicKey | Iterable[PublicKey] | None = None,
        *,
        memory: str | None = None,
    ) -> Verification:
        """Check a certificate as ``visual_memory.verify`` does, and by this server.

        One of the server's keys must have signed it, and the audit log of its memory must hold the
        erasure and lead to the memory as it is. Raises InvalidCertificate, and Error with the
        reason BAD_AUDIT_LOG for a log that was changed.
        """
        server = await self.server_info()
        found = _audit.verified(path_or_certificate, public_key, memory, server)
        try:
            info = await self.memory(found.memory).info()
        except NotFound:
            raise gone(found) from None
        log, _ = await self._audit_log(info)
        log.check_certificate(found)
        return found

    async def cancel(self, operation: str) -> Operation:
        """Ask an operation to stop, unless it ends first. Raises FailedPrecondition."""
        return await self._transport.do(_operations.cancel_operation(operation))

    async def _ask(self, queries: Queries[T]) -> list[T]:
        limits = await self._limits()
        if queries.may_answer_too_much(limits):
            info = await self._transport.do(_memories.memory_info(queries.header.memory))
            queries = queries.answered_within(limits, info)
        pace = self._paces[queries.header.memory, queries.method, queries.contents.name]
        return await self._transport.ask(queries.calls(limits, pace))

    async def _pages(self, page: Callable[[str], Call[tuple[list[T], str]]]) -> AsyncIterator[T]:
        token = ""
        while True:
            items, token = await self._transport.do(page(token))
            for item in items:
                yield item
            if not token:
                return

    async def _audit_log(self, info: MemoryInfo) -> tuple[Log, AuditHead]:
        """All of the log of a memory, checked, and where it stands."""
        log, token = Log(info), ""
        while True:
            page = await self._transport.do(_audit.audit_page(info.name, token))
            log.add(page.events)
            token = page.token
            if not token:
                log.end(page.head)
                return log, page.head

    async def _server(self) -> ServerInfo:
        if self._known_server is None:
            self._known_server = await self.server_info()
        return self._known_server

    async def _limits(self) -> Limits:
        server = await self._server()
        return server.limits

    async def _insert(
        self, insertion: Insertion, *, atomic: bool | None, progress: Progress | None
    ) -> InsertResult:
        limits = await self._limits()
        one = await asyncio.to_thread(insertion.is_one_message, limits, atomic=atomic)
        if one and insertion.pictures <= FIRST_ITEMS:
            result = await self._transport.do(insertion.whole())
            if progress is not None:
                progress(len(result.ids), len(result.ids))
            return result
        pace = None if one else self._paces[insertion.memory, "Import", insertion.contents.name]
        importing = Import(insertion, limits, progress, self._endpoint.patience(), pace)
        with importing.accounted():
            await self._transport.store(importing)
        return importing.result()


class Memory:
    """One memory of a server, by name."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._transport = client, client._transport
        self.name = name

    def __repr__(self) -> str:
        return f"<Memory {self.name!r} of {self._client!r}>"

    async def info(self) -> MemoryInfo:
        """Counts, labels, embedder and size. Raises NotFound."""
        return await self._transport.do(_memories.memory_info(self.name))

    async def insert(
        self,
        *,
        images: SomeImages | None = None,
        vectors: ArrayLike | None = None,
        labels: Iterable[str],
        ids: Iterable[str] | None = None,
        metadata: Iterable[Metadata] | None = None,
        content_sha256: Iterable[str] | None = None,
        request_id: str | None = None,
        atomic: bool | None = None,
        replace_existing: bool = False,
        progress: Progress | None = None,
    ) -> InsertResult:
        """Remember images, or vectors (n, d), under their labels.

        With both, the vectors vote, and the images (None for no image) are kept beside them.
        ``content_sha256`` are the hashes of pictures that vectors were made of, lower-case hex,
        empty where none is known: the hash of an entry is then that of its picture.
        What one message holds, of pictures at most 256, is stored as a whole or not at all. More
        goes in batches that follow the speed of the server: an error then says how many leading
        entries are ``stored``, and the same call with its ``request_id`` goes on after them.
        ``atomic=True`` makes all of it one batch, or refuses; ``atomic=False`` makes batches of
        less too. ``progress`` is called with the entries stored and all entries. Without ``ids``
        the server makes them.
        Raises InvalidArgument, AlreadyExists.
        """
        insertion = await asyncio.to_thread(
            Insertion,
            self.name,
            images=images,
            vectors=vectors,
            labels=labels,
            ids=ids,
            metadata=metadata,
            content_sha256=content_sha256,
            request_id=request_id,
            replace_existing=replace_existing,
        )
        return await self._client._insert(insertion, atomic=atomic, progress=progress)

    async def delete(
        self, ids: Iterable[str], *, allow_missing: bool = False, request_id: str | None = None
    ) -> int:
        """Forget entries, all or none; how many there were. Raises NotFound for unknown ids."""
        return await self._transport.do(
            _entries.delete_entries(self.name, ids, allow_missing, request_id)
        )

    async def purge(
        self, filter: str, *, apply: bool = False, request_id: str | None = None
    ) -> PurgeResult:
        """Forget what ``filter`` admits; without ``apply`` only show what that would be."""
        return await self._transport.do(
            _entries.purge_entries(self.name, filter, apply, request_id)
        )

    async def get(
        self,
        id: str,
        *,
        include_vector: bool = False,
        include_image: bool = False,
        include_thumbnail: bool = False,
    ) -> Entry:
        """One entry. Raises NotFound."""
        call = _entries.get_entry(
            self.name,
            id,
            include_vector=include_vector,
            include_image=include_image,
            include_thumbnail=include_thumbnail,
        )
        return await self._transport.do(call)

    def entries(
        self,
        filter: str | None = None,
        *,
        include_vectors: bool = False,
        include_images: bool = False,
        include_thumbnails: bool = False,
    ) -> AsyncIterator[Entry]:
        """The entries that ``filter`` admits, by id, fetched page by page."""
        page = partial(
            _entries.list_entries,
            self.name,
            filter,
            include_vectors,
            include_images,
            include_thumbnails,
        )
        return self._client._pages(page)

    async def update(
        self,
        id: str,
        *,
        label: str | None = None,
        metadata: Metadata | None = None,
        request_id: str | None = None,
    ) -> Entry:
        """Give an entry another label, other metadata or both. Raises NotFound."""
        return await self._transport.do(
            _entries.update_entry(self.name, id, label, metadata, request_id)
        )

    async def classify(
        self,
        *,
        images: Images | None = None,
        vectors: ArrayLike | None = None,
        k: int = 50,
        voting: str = "rank",
        filter: str | None = None,
        exclude_ids: Iterable[str] = (),
        neighbors: int | None = None,
        reliability: str = "none",
        reliability_k: int = 10,
        calibrated: bool = False,
        coverage: float | None = None,
        conformal: str = "lac",
        allow_empty: bool = False,
        min_confidence: float | None = None,
        level: int | None = None,
        reranker: str | None = None,
        rerank_seconds: float = 10.0,
    ) -> list[Decision]:
        """What each query is, by the vote of its ``k`` nearest entries, in order.

        ``filter`` says who may vote and ``exclude_ids`` who may not; a decision carries the first
        ``neighbors``, or all k. With ``reliability="soft"`` the votes of entries that mislead their
        ``reliability_k`` nearest count less. With ``calibrated`` decisions say how often such ones
        are right and are ``rejected`` where a query is unlike anything remembered; with a
        ``coverage`` they hold a set of labels, by the rule ``conformal``. With ``min_confidence``
        they hold the deepest node of the taxonomy with that share of the votes, with ``level`` the
        one with most votes at this depth. A ``reranker`` of the server looks at the pictures of the
        query and its k neighbours again and says who counts how much, within ``rerank_seconds`` for
        each query; None asks the memory's, ``"none"`` nobody. Raises InvalidArgument, NotFound for
        an unknown re-ranker, and FailedPrecondition of an empty memory, or of one that is not
        calibrated for these votes or stores no images to re-rank.
        """
        queries = await asyncio.to_thread(
            _queries.classify,
            self.name,
            images=images,
            vectors=vectors,
            k=k,
            voting=voting,
            filter=filter,
            exclude_ids=exclude_ids,
            neighbors=neighbors,
            reliability=reliability,
            reliability_k=reliability_k,
            calibrated=calibrated,
            coverage=coverage,
            conformal=conformal,
            allow_empty=allow_empty,
            min_confidence=min_confidence,
            level=level,
            reranker=reranker,
            rerank_seconds=rerank_seconds,
        )
        if queries.may_be_too_many and await self._has_reranker():
            queries = queries.in_small_messages()
        return await self._client._ask(queries)

    async def _has_reranker(self) -> bool:
        server = await self._client._server()
        if not server.rerankers:
            return False
        info = await self.info()
        return bool(info.reranker)

    async def search(
        self,
        *,
        images: Images | None = None,
        vectors: ArrayLike | None = None,
        k: int = 50,
        filter: str | None = None,
        exclude_ids: Iterable[str] = (),
    ) -> list[Neighbors]:
        """The ``k`` nearest entries of each query, in order. Raises as ``classify`` does."""
        return await self._client._ask(
            await asyncio.to_thread(
                _queries.search,
                self.name,
                images=images,
                vectors=vectors,
                k=k,
                filter=filter,
                exclude_ids=exclude_ids,
            )
        )

    async def misleading_counts(
        self, k: int = 100, *, progress: Progress | None = None
    ) -> dict[str, int]:
        """How often each entry is among the ``k`` nearest of one with another label, by id.

        The first time takes long: ``progress`` is told how many of how many entries are looked at.
        """
        while True:
            finding, counts, token = await self._transport.do(
                _curation.misleading_counts(self.name, k, "")
            )
            if finding is None:
                break
            _operations.check_done(await self._client.wait(finding.name, progress=progress))
        while token:
            _, more, token = await self._transport.do(
                _curation.misleading_counts(self.name, k, token)
            )
            counts += more
        return dict(counts)

    @overload
    async def prune(
        self,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **how: Unpack[PruneHow],
    ) -> PruneResult: ...
    @overload
    async def prune(
        self,
        *,
        wait: Literal[False],
        progress: Progress | None = None,
        **how: Unpack[PruneHow],
    ) -> Operation: ...
    async def prune(
        self,
        *,
        wait: bool = True,
        progress: Progress | None = None,
        **how: Unpack[PruneHow],
    ) -> PruneResult | Operation:
        """Take the votes of entries that mislead; without ``apply`` only show whose that would be.

        ``how`` is a method with what it needs, as ``PruneHow`` lists them. Entries stay stored, and
        ``undo`` brings their votes back. With ``wait=False`` the operation is returned at once.
        Raises InvalidArgument, NotFound for ids that do not vote, FailedPrecondition.
        """
        operation = await self._transport.do(_curation.prune(self.name, **how))
        if not wait:
            return operation
        return _curation.pruned(await self._client.wait(operation.name, progress=progress))

    async def values(
        self,
        k: int = 5,
        *,
        images: Images | None = None,
        vectors: ArrayLike | None = None,
        labels: Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> dict[str, float]:
        """What each voting entry is worth, by id: its exact KNN-Shapley value.

        To the queries given, which should get ``labels``; without any, to the other entries.
        ``progress`` is told how many of how many queries are asked. Raises InvalidArgument.
        """
        request = _curation.value_entries(
            self.name,
            await self._client._limits(),
            k=k,
            images=images,
            vectors=vectors,
            labels=labels,
        )
        return await self._transport.values(request, progress)

    async def explain(
        self,
        *,
        images: Images | None = None,
        vectors: ArrayLike | None = None,
        k: int = 50,
        voting: str = "rank",
        exclude_ids: Iterable[str] = (),
        remove: Iterable[str] = (),
        relabel: Mapping[str, str] | None = None,
        add_vectors: ArrayLike | None = None,
        add_labels: Iterable[str] = (),
        search_seconds: float = 5.0,
        include_thumbnails: bool = False,
    ) -> Explanation:
        """Why one query gets its label, and what it would get after some changes.

        Entries may be removed, relabelled or added for this question alone. The fewest entries
        that flip the label are looked for during ``search_seconds``. ``include_thumbnails`` adds
        what the entries look like, where the memory stores images. Raises InvalidArgument,
        NotFound for entries that do not vote.
        """
        call = _decisions.explain(
            self.name,
            await self._client._limits(),
            images=images,
            vectors=vectors,
            k=k,
            voting=voting,
            exclude_ids=exclude_ids,
            remove=remove,
            relabel=relabel,
            add_vectors=add_vectors,
            add_labels=add_labels,
            search_seconds=search_seconds,
            include_thumbnails=include_thumbnails,
        )
        return await self._transport.do(call)

    @overload
    async def assess(
        self,
        *,
        k: int = 50,
        voting: str = "rank",
        thin: int = 5,
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
    ) -> Assessment: ...
    @overload
    async def assess(
        self,
        *,
        k: int = 50,
        voting: str = "rank",
        thin: int = 5,
        request_id: str | None = None,
        wait: Literal[False],
        progress: Progress | None = None,
    ) -> Operation: ...
    async def assess(
        self,
        *,
        k: int = 50,
        voting: str = "rank",
        thin: int = 5,
        request_id: str | None = None,
        wait: bool = True,
        progress: Progress | None = None,
    ) -> Assessment | Operation:
        """What the voting entries say of each other, and which of them look wrong.

        Labels of fewer than ``thin`` entries are not judged. With ``wait=False`` the operation is
        returned at once. Raises FailedPrecondition.
        """
        call = _curation.assess(self.name, k=k, voting=voting, thin=thin, request_id=request_id)
        operation = await self._transport.do(call)
        if not wait:
            return operation
        return _curation.assessed(await self._client.wait(operation.name, progress=progress))

    @overload
    async def calibrate(
        self,
        *,
        k: int = 50,
        voting: str = "rank",
        images: Images | None = None,
        vectors: ArrayLike | None = None,
        labels: Iterable[str] | None = None,
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
    ) -> Calibration: ...
    @overload
    async def calibrate(
        self,
        *,
        k: int = 50,
        voting: str = "rank",
        images: Images | None = None,
        vectors: ArrayLike | None = None,
        labels: Iterable[str] | None = None,
        request_id: str | None = None,
        wait: Literal[False],
        progress: Progress | None = None,
    ) -> Operation: ...
    async def calibrate(
        self,
        *,
        k: int = 50,
        voting: str = "rank",
        images: Images | None = None,
        vectors: ArrayLike | None = None,
        labels: Iterable[str] | None = None,
        request_id: str | None = None,
        wait: bool = True,
        progress: Progress | None = None,
    ) -> Calibration | Operation:
        """Fit confidences, label sets and rejection to the memory as it is, for such votes.

        By images or vectors that are no entries, with their labels; without any each entry asks
        the others, which costs nothing but is no guarantee of a coverage. With ``wait=False`` the
        operation is returned at once.
        Raises FailedPrecondition where there are too few, or of one label.
        """
        call = _decisions.calibrate(
            self.name,
            await self._client._limits(),
            k=k,
            voting=voting,
            images=images,
            vectors=vectors,
            labels=labels,
            request_id=request_id,
        )
        operation = await self._transport.do(call)
        if not wait:
            return operation
        return _decisions.calibrated(await self._client.wait(operation.name, progress=progress))

    async def taxonomy(self) -> Taxonomy:
        """The tree over the labels."""
        return await self._transport.do(_decisions.get_taxonomy(self.name))

    async def set_taxonomy(
        self, parents: Mapping[str, str], *, request_id: str | None = None
    ) -> Taxonomy:
        """Set the parent of every node that has one; all that was set before is gone.

        Raises InvalidArgument for a cycle.
        """
        return await self._transport.do(_decisions.set_taxonomy(self.name, parents, request_id))

    async def set_reranker(
        self, reranker: str | None, *, request_id: str | None = None
    ) -> MemoryInfo:
        """Name the re-ranker of this memory, or None for none.

        Raises NotFound where the server has no such one, FailedPrecondition where the memory does
        not store images.
        """
        return await self._transport.do(_decisions.set_reranker(self.name, reranker, request_id))

    @overload
    async def relabel(
        self,
        labels: Mapping[str, str],
        *,
        apply: bool = False,
        request_id: str | None = None,
        wait: Literal[True] = True,
    ) -> RelabelResult: ...
    @overload
    async def relabel(
        self,
        labels: Mapping[str, str],
        *,
        apply: bool = False,
        request_id: str | None = None,
        wait: Literal[False],
    ) -> Operation: ...
    async def relabel(
        self,
        labels: Mapping[str, str],
        *,
        apply: bool = False,
        request_id: str | None = None,
        wait: bool = True,
    ) -> RelabelResult | Operation:
        """Set the label of each id; without ``apply`` only show which would change.

        With ``wait=False`` the operation itself is returned, which is done by then, and has a name
        where labels were set. Raises NotFound for unknown ids.
        """
        call = _curation.relabel(self.name, labels, apply, request_id)
        operation = await self._transport.do(call)
        return _curation.relabelled(operation) if wait else operation

    @overload
    async def unlearn(
        self,
        ids: Iterable[str],
        *,
        dry_run: Literal[False] = False,
        allow_missing: bool = False,
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
    ) -> Certificate: ...
    @overload
    async def unlearn(
        self,
        ids: Iterable[str],
        *,
        dry_run: Literal[False] = False,
        allow_missing: bool = False,
        request_id: str | None = None,
        wait: Literal[False],
    ) -> Operation: ...
    @overload
    async def unlearn(
        self, ids: Iterable[str], *, dry_run: Literal[True], allow_missing: bool = False
    ) -> UnlearnResult: ...
    async def unlearn(
        self,
        ids: Iterable[str],
        *,
        dry_run: bool = False,
        allow_missing: bool = False,
        request_id: str | None = None,
        wait: bool = True,
        progress: Progress | None = None,
    ) -> Certificate | Operation | UnlearnResult:
        """Forget entries, erase every trace of them, and have that certified.

        The server looks for what might be left of them before it signs, in its files and its own
        memory. ``dry_run`` only says how many it would be. Raises NotFound for unknown ids, unless
        ``allow_missing``; where none is stored, nothing is erased or certified, and waiting for
        that raises FailedPrecondition. With ``wait=False`` the operation is returned at once, which
        goes on after a restart; ``certificate`` gets what it certified.
        """
        call = _unlearn.unlearn_entries(
            self.name,
            ids,
            apply=not dry_run,
            allow_missing=allow_missing,
            request_id=request_id,
        )
        operation = await self._transport.do(call)
        if dry_run:
            return _unlearn.would_unlearn(operation)
        if not wait:
            return operation
        ended = await self._client.wait(operation.name, progress=progress)
        return await self._transport.do(_unlearn.certificate_of(ended))

    def audit_events(self) -> AsyncIterator[AuditEvent]:
        """What was done to the memory, the oldest first, fetched page by page; not verified."""
        return self._client._pages(partial(_audit.audit_events, self.name))

    async def verify_audit_log(self) -> AuditHead:
        """Fetch the whole audit log and look whether it leads to the memory; where it stands.

        Raises Error with the reason BAD_AUDIT_LOG where events were changed, left out or put in.
        """
        _, head = await self._client._audit_log(await self.info())
        return head

    @overload
    async def check(
        self,
        *,
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
    ) -> CheckResult: ...
    @overload
    async def check(
        self,
        *,
        request_id: str | None = None,
        wait: Literal[False],
        progress: Progress | None = None,
    ) -> Operation: ...
    async def check(
        self,
        *,
        request_id: str | None = None,
        wait: bool = True,
        progress: Progress | None = None,
    ) -> CheckResult | Operation:
        """Have the server compare its file of the memory with its digest, audit log and RAM.

        ``progress`` is told how many entries and events of how many are compared. With
        ``wait=False`` the operation is returned at once. Raises Error, such as with the reason
        CORRUPT_STORE, where they do not fit: the memory is refused from then on.
        """
        operation = await self._transport.do(_audit.check(self.name, request_id))
        if not wait:
            return operation
        return _audit.checked(await self._client.wait(operation.name, progress=progress))

    async def undo(self, operation: str, *, request_id: str | None = None) -> int:
        """Take back a prune or a relabel where nothing changed it since; how many entries.

        Raises NotFound, FailedPrecondition where it was undone before.
        """
        return await self._transport.do(_curation.undo(self.name, operation, request_id))

    async def embed(self, images: Images) -> NDArray[np.float32]:
        """The unit vectors (n, d) that the memory would store. Raises InvalidArgument."""
        queries = await asyncio.to_thread(_queries.embed, self.name, images)
        return np.concatenate(await self._client._ask(queries))
