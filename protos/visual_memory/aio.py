"""The client for asyncio: the calls of the blocking client as coroutines."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, Self, TypeVar, Unpack

from visual_memory import options, types
from visual_memory._calls import audit as _audit
from visual_memory._calls import curation as _curation
from visual_memory._calls import decisions as _decisions
from visual_memory._calls import entries as _entries
from visual_memory._calls import memories as _memories
from visual_memory._calls import operations as _operations
from visual_memory._calls import queries as _queries
from visual_memory._messages.call import Call
from visual_memory._messages.fields import Metadata, positive
from visual_memory._messages.images import Images, SomeImages
from visual_memory._messages.insertion import Insertion
from visual_memory._messages.pace import FIRST_ITEMS, Pace
from visual_memory._transport import backups as _backups
from visual_memory._transport.aio import Transport, long_running, prepared, with_dry_run
from visual_memory._transport.connection import Endpoint, endpoint, secured
from visual_memory._transport.embedded import EmbeddedServer
from visual_memory._transport.imports import Import, Progress
from visual_memory.errors import Error, InvalidArgument, NotFound, refuse
from visual_memory.proofs.audit import Log, unknown_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from visual_memory.proofs.certificate import Certificate, Source, Verification
    from visual_memory.proofs.keys import PublicKey

T = TypeVar("T")
POLL_SECONDS = 0.02


def connect(
    target: str | None = None,
    *,
    api_key: str | None = None,
    tls: bool = False,
    root_certificates: bytes | str | os.PathLike[str] | None = None,
    client_certificate: bytes | str | os.PathLike[str] | None = None,
    client_key: bytes | str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
) -> Client:
    """Return a client of the server at ``target``, HOST:PORT, which connects with the first call.

    Without a target a server is started for this client alone, and waited for. Its memories are in
    a temporary folder, and gone once the client is closed or the program ends. It needs the extra
    ``cpu`` or ``gpu``; if it does not start, FailedPrecondition says why.

    ``api_key`` is sent with each call as a bearer token. With ``tls`` the connection is encrypted,
    and the server's certificate must be of a CA that gRPC knows, or of ``root_certificates``, which
    mean TLS, too. ``client_certificate`` and its ``client_key``, without a password, are for a
    server that asks for them. Each of these is PEM, as bytes or as the path of a file. ``timeout``
    bounds one message with its retries, in seconds, not counting the time in which the server
    reports that it works on an import. A server that a call never reached is retried for at most
    5 s. Every call may raise ``Error`` and its subclasses.
    """
    secure = secured(tls, root_certificates, certificate=client_certificate, private_key=client_key)
    if target is not None:
        return Client(endpoint(target, api_key, secure, timeout))
    if api_key is not None or secure is not None:
        refuse("target", "must be given with a key or certificates, which are for a server there")
    server = EmbeddedServer()
    return Client(endpoint(server.target, None, None, timeout), server)


class Client:
    """A connection to one server, opened by ``connect``, closed by ``close`` or ``with``."""

    def __init__(self, endpoint: Endpoint, server: EmbeddedServer | None = None) -> None:
        self._transport, self._server = Transport(endpoint), server
        self._known_server: types.ServerInfo | None = None
        # By memory, method and contents.
        self._paces = defaultdict[tuple[str, str, str], Pace](partial(Pace, endpoint.timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.target}>"

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled.

        A server that was started for this client ends, and its memories are gone.
        """
        await self._transport.close()
        if self._server is not None:
            await asyncio.to_thread(EmbeddedServer.end, self._server)

    @property
    def target(self) -> str:
        """The server's address, HOST:PORT."""
        return self._transport.endpoint.target

    async def server_info(self) -> types.ServerInfo:
        """Return the server's release, limits, embedders and public keys."""
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
        """Create a memory for images (``embedder``) or for vectors of one ``dimension``.

        The default is the embedder efficientnet-lite0. With ``store_images`` the memory stores
        pictures as they are sent, with thumbnails. Raises AlreadyExists, and FailedPrecondition
        if the server is too old to store pictures.
        """
        call = _memories.create_memory(name, embedder, dimension, store_images, request_id)
        await self._transport.do(call)
        return self.memory(name)

    def memory(self, name: str) -> Memory:
        """Return the memory of this name, without a call to the server."""
        return Memory(self, name)

    async def memories(self) -> list[types.MemoryInfo]:
        """Return all memories, sorted by name."""
        return [memory async for memory in self._pages(_memories.list_memories)]

    async def delete_memory(self, name: str, *, request_id: str | None = None) -> None:
        """Delete a memory with all its entries. Raises NotFound."""
        await self._transport.do(_memories.delete_memory(name, request_id))

    async def backup(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> int:
        """Back up a memory, as it is now, to a file and return its size in bytes.

        The file appears once it is complete. ``progress`` is called with the bytes received and all
        bytes. Raises NotFound, and AlreadyExists if the file exists, unless ``overwrite``.
        """
        receive = partial(_backups.receive, name, path, overwrite)
        return await self._transport.transfer(receive, progress)

    async def restore(
        self,
        path: str | os.PathLike[str],
        name: str,
        *,
        request_id: str | None = None,
        progress: Progress | None = None,
    ) -> types.RestoreResult:
        """Create the memory ``name`` from a backup, without entries unlearned since the backup.

        ``progress`` is called with the bytes sent and all bytes. Raises AlreadyExists, and
        InvalidArgument for a file that is no complete backup.
        """
        send = partial(_backups.send, path, name, request_id)
        return await self._transport.transfer(send, progress)

    async def copy(self, name: str, new_name: str, *, request_id: str | None = None) -> Memory:
        """Copy a memory, as it is now, to a new one. Raises NotFound, AlreadyExists."""
        await self._transport.do(_memories.copy_memory(name, new_name, request_id))
        return self.memory(new_name)

    async def operation(self, name: str) -> types.Operation:
        """Return the present state of an operation. Raises NotFound."""
        return await self._transport.do(_operations.get_operation(name))

    def operations(self, memory: str) -> AsyncIterator[types.Operation]:
        """Iterate over the operations of a memory, the newest first, fetched page by page."""
        return self._pages(partial(_operations.list_operations, memory))

    async def wait(
        self, operation: str | types.Operation, *, progress: Progress | None = None
    ) -> types.Operation:
        """Wait until an operation, given by itself or its name, has ended, and return it.

        ``progress`` is called about once a second, and at the end, with the steps done and all
        steps. Raises FailedPrecondition if the operation cannot go on for now, such as while the
        disk is full; the server resumes it.
        """
        while True:
            found = await self._transport.do(_operations.wait_operation(operation))
            _operations.report(found, progress)
            if _operations.has_ended(found):
                return found
            await asyncio.sleep(POLL_SECONDS)

    async def certificate(self, operation: str | types.Operation) -> Certificate:
        """Return the certificate of an unlearning.

        Raises NotFound, FailedPrecondition if the unlearning is not done.
        """
        return await self._transport.do(_audit.get_certificate(operation))

    async def verify(
        self,
        path_or_certificate: Source | Certificate,
        public_key: PublicKey | Iterable[PublicKey] | None = None,
        *,
        memory: str | None = None,
    ) -> Verification:
        """Verify a certificate as ``visual_memory.verify`` does, and against this server.

        One of the server's keys must have signed it, and the audit log of its memory must contain
        the erasure and match the present memory. Raises InvalidCertificate, and Error with the
        reason BAD_AUDIT_LOG for a log that was changed.
        """
        server = await self.server_info()
        found = _audit.verified(path_or_certificate, public_key, memory, server)
        try:
            info = await self.memory(found.memory).info()
        except NotFound:
            raise unknown_memory(found) from None
        log, _ = await self._audit_log(info)
        log.check_certificate(found)
        return found

    async def cancel(self, operation: str | types.Operation) -> types.Operation:
        """Cancel an operation and return it. Cancelling it again is no error.

        Raises NotFound, and FailedPrecondition if it ended otherwise or is an unlearning.
        """
        return await self._transport.do(_operations.cancel_operation(operation))

    async def _ask(self, queries: _queries.Queries[T]) -> list[T]:
        async def ask(server: types.ServerInfo) -> list[T]:
            pace = self._paces[queries.header.memory, queries.method, queries.contents.name]
            if not queries.depends_on_memory(server):
                try:
                    return await self._transport.ask(
                        queries.calls(server.limits, pace), alone=queries.is_one_vector
                    )
                except Error as refusal:  # where a default rule has a head, all labels are scored
                    if refusal.reason != "ANSWER_TOO_LARGE":
                        raise
            info = await self._transport.do(_memories.memory_info(queries.header.memory))
            sized = queries.sized_for(info, server)
            return await self._transport.ask(
                sized.calls(server.limits, pace), alone=queries.is_one_vector
            )

        return await self._with_server(ask)

    async def _pages(self, page: Callable[[str], Call[tuple[list[T], str]]]) -> AsyncIterator[T]:
        token = ""
        while True:
            items, token = await self._transport.do(page(token))
            for item in items:
                yield item
            if not token:
                return

    async def _audit_log(self, info: types.MemoryInfo) -> tuple[Log, types.AuditHead]:
        """Fetch and check the whole audit log of a memory; return it with its head.

        ``info`` must be the memory's, fetched before the call. Raises Error for a log that was
        changed.
        """
        log, token = Log(info), ""
        while True:
            events, head, token = await self._transport.do(_audit.audit_page(info.name, token))
            log.add(events)
            if not token:
                log.end(head)
                return log, head

    async def _with_server(self, act: Callable[[types.ServerInfo], Awaitable[T]]) -> T:
        """Call ``act`` with the server's info as last fetched.

        If InvalidArgument is raised, fetch the info anew, since a server may have been restarted
        with other limits; if the info has changed, call ``act`` once more.
        """
        known = self._known_server = self._known_server or await self.server_info()
        try:
            return await act(known)
        except InvalidArgument:
            self._known_server = await self.server_info()
            if self._known_server == known:
                raise
        return await act(self._known_server)

    async def _insert(
        self, insertion: Insertion, *, atomic: bool | None, progress: Progress | None
    ) -> types.InsertResult:
        async def insert(server: types.ServerInfo) -> types.InsertResult:
            limits = server.limits
            one = await asyncio.to_thread(insertion.is_one_message, limits, atomic=atomic)
            if one and insertion.pictures <= FIRST_ITEMS:
                result = await self._transport.do(insertion.whole())
                if progress is not None:
                    progress(len(result.ids), len(result.ids))
                return result
            pace = None if one else self._paces[insertion.memory, "Import", insertion.contents.name]
            importing = Import(insertion, limits, progress, self._transport.endpoint.budget(), pace)
            with importing.annotate_errors():
                await self._transport.import_entries(importing)
            return importing.result()

        return await self._with_server(insert)


class Memory:
    """A memory on a server: a named collection of entries, with the calls on it."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._transport = client, client._transport
        self.name = name

    def __repr__(self) -> str:
        return f"<Memory {self.name!r} of {self._client!r}>"

    def __aiter__(self) -> AsyncIterator[types.Entry]:
        """Iterate over all entries by id, fetched page by page."""
        return self.entries()

    async def _result(
        self, pending: _operations.Pending[T], wait: bool, progress: Progress | None = None
    ) -> T | types.Operation:
        """Start an operation; return its result or, without ``wait``, the operation at once."""
        operation = await self._transport.do(pending.call)
        if not wait:
            return operation
        if operation.state == "running":
            with _operations.annotate_interrupts(operation.name):
                operation = await self._client.wait(operation.name, progress=progress)
        else:
            _operations.report(operation, progress)
        return pending.result(operation)

    async def info(self) -> types.MemoryInfo:
        """Return counts, labels, embedder and size. Raises NotFound."""
        return await self._transport.do(_memories.memory_info(self.name))

    async def insert(
        self,
        images: SomeImages | None = None,
        *,
        vectors: ArrayLike | None = None,
        labels: Iterable[str],
        ids: Iterable[str] | None = None,
        metadata: Iterable[Metadata] | None = None,
        content_sha256: Iterable[str] | None = None,
        request_id: str | None = None,
        atomic: bool | None = None,
        replace_existing: bool = False,
        progress: Progress | None = None,
    ) -> types.InsertResult:
        """Insert images, or vectors (n, d), with their labels.

        With both, the vectors vote, and the images (None for no image) are stored beside them.
        ``content_sha256`` are the hashes (lower-case hex, or empty) of the pictures that vectors
        were computed from; each is then the entry's hash, in place of the vector's. Entries that
        fit one message, and at most 256 pictures, are stored all or none. More are sent in batches:
        an error then says how many leading entries are surely ``stored``, and the same call with
        its ``request_id`` resumes after what is stored. ``atomic=True`` stores all or none, or
        raises InvalidArgument if they do not fit one message; ``atomic=False`` allows smaller ones.
        ``progress`` is called with the entries stored and all entries. Without ``ids`` the server
        makes them. Raises InvalidArgument, and AlreadyExists for ids that are stored, unless
        ``replace_existing`` replaces their entries.
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
        """Delete entries, all or none, and return their number.

        Raises NotFound for unknown ids, unless ``allow_missing``.
        """
        call = _entries.delete_entries(self.name, ids, allow_missing, request_id)
        return await self._transport.do(call)

    async def purge(
        self, filter: str, *, apply: bool = False, request_id: str | None = None
    ) -> types.PurgeResult:
        """Delete the entries that match ``filter``; without ``apply`` only show which.

        Raises InvalidArgument for a filter that is empty or does not parse.
        """
        call = _entries.purge_entries(self.name, filter, apply, request_id)
        return await self._transport.do(call)

    async def get(
        self,
        id: str,
        *,
        include_vector: bool = False,
        include_image: bool = False,
        include_thumbnail: bool = False,
    ) -> types.Entry:
        """Return one entry. Raises NotFound."""
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
    ) -> AsyncIterator[types.Entry]:
        """Iterate over the entries that match ``filter``, or all, by id, fetched page by page."""
        page = partial(
            _entries.list_entries,
            self.name,
            filter,
            include_vectors=include_vectors,
            include_images=include_images,
            include_thumbnails=include_thumbnails,
        )
        return self._client._pages(page)

    async def entry_page(
        self,
        filter: str | None = None,
        *,
        page_token: str = "",
        page_size: int = 100,
        include_vectors: bool = False,
        include_images: bool = False,
        include_thumbnails: bool = False,
    ) -> types.EntryPage:
        """Return one page of the entries that match ``filter``, or of all, by id.

        ``page_token`` is that of the page before, with the same ``filter``. A page has
        ``page_size`` entries at most, 1 to 10,000, and fewer where more do not fit a message.
        Raises InvalidArgument.
        """
        call = _entries.list_entries(
            self.name,
            filter,
            page_token,
            positive(page_size, "page_size"),
            include_vectors=include_vectors,
            include_images=include_images,
            include_thumbnails=include_thumbnails,
        )
        return types.EntryPage(*await self._transport.do(call))

    async def update(
        self,
        id: str,
        *,
        label: str | None = None,
        metadata: Metadata | None = None,
        request_id: str | None = None,
    ) -> types.Entry:
        """Set the label of an entry, its metadata as a whole, or both; return the entry.

        Raises NotFound, and InvalidArgument if both are None.
        """
        call = _entries.update_entry(self.name, id, label, metadata, request_id)
        return await self._transport.do(call)

    async def classify(
        self,
        images: Images | None = None,
        *,
        vectors: ArrayLike | None = None,
        **how: Unpack[options.DecisionOptions],
    ) -> list[types.Decision]:
        """Classify each query by the vote of its ``k`` nearest entries, in order.

        ``how`` is the rule, and what else the decisions are to say: ``DecisionOptions`` has all
        keywords. Raises InvalidArgument, NotFound for an unknown re-ranker, and FailedPrecondition
        for a memory that is empty, not calibrated for these votes, or stores no images to re-rank.
        """
        queries = await prepared(
            vectors,
            _queries.classify,
            self.name,
            images=images,
            vectors=vectors,
            **how,
        )
        return await self._client._ask(queries)

    async def search(
        self,
        images: Images | None = None,
        *,
        vectors: ArrayLike | None = None,
        k: int = 50,
        filter: str | None = None,
        exclude_ids: Iterable[str] = (),
    ) -> list[types.Neighbors]:
        """Return the ``k`` nearest voting entries of each query, in order.

        Only entries that match ``filter`` and are not in ``exclude_ids`` are returned. Raises
        InvalidArgument, and FailedPrecondition if the memory is empty or none of its entries is
        admitted.
        """
        queries = await prepared(
            vectors,
            _queries.search,
            self.name,
            images=images,
            vectors=vectors,
            k=k,
            filter=filter,
            exclude_ids=exclude_ids,
        )
        return await self._client._ask(queries)

    async def misleading_counts(
        self, k: int = 100, *, progress: Progress | None = None
    ) -> dict[str, int]:
        """Map each id to the number of entries of other labels with it among their ``k`` nearest.

        The first call takes long: ``progress`` is called with the entries examined and all entries;
        writes meanwhile change both. All counts are of one state of the memory. Raises Error with
        the reason COUNTS_CHANGED if the server drops that state again and again, as where many read
        a memory that changes.
        """
        counts: dict[str, int] = {}
        token, tries = "", _curation.COUNTS_TRIES
        while True:
            call = _curation.misleading_counts(self.name, k, token)
            try:
                finding, page, token = await self._transport.do(call)
            except Error as error:
                tries -= 1
                if error.reason != "COUNTS_CHANGED" or not tries:
                    raise
                counts.clear()
                token = ""
                continue
            if finding is not None:  # also after a write between two pages
                counts.clear()
                _operations.check_done(await self._client.wait(finding.name, progress=progress))
                continue
            counts |= page
            if not token:
                if progress is not None and counts:
                    progress(len(counts), len(counts))
                return counts

    @long_running
    async def prune(
        self,
        *,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **how: Unpack[_curation.PruneHow],
    ) -> types.PruneResult | types.Operation:
        """Take away the votes of entries that a method selects; without ``apply`` only show which.

        ``how`` is the method with its parameters, as ``PruneHow`` lists them. Entries stay stored,
        and ``undo`` restores their votes. With ``wait=False`` the operation is returned at once.
        Raises InvalidArgument, NotFound for ids that do not vote, FailedPrecondition if no entry
        votes.
        """
        return await self._result(_curation.prune(self.name, **how), wait, progress)

    async def values(
        self,
        k: int = 5,
        *,
        images: Images | None = None,
        vectors: ArrayLike | None = None,
        labels: Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> dict[str, float]:
        """Compute the exact KNN-Shapley value of each voting entry, by id.

        Values are means over labelled queries: the images or vectors with their ``labels`` or,
        without any, the voting entries, each of which values the others. The utility is the share
        of the ``k`` nearest that have the query's label. ``progress`` is called with the queries
        done and all queries. Raises InvalidArgument.
        """
        call = _curation.value_entries(
            self.name,
            await self._client.server_info(),
            k=k,
            images=images,
            vectors=vectors,
            labels=labels,
        )
        return dict(await self._transport.find(call, progress))

    async def explain(
        self,
        images: Images | None = None,
        *,
        vectors: ArrayLike | None = None,
        exclude_ids: Iterable[str] = (),
        remove: Iterable[str] = (),
        relabel: Mapping[str, str] | None = None,
        add_vectors: ArrayLike | None = None,
        add_labels: Iterable[str] = (),
        search_seconds: float = 5.0,
        include_thumbnails: bool = False,
        **rule: Unpack[options.RuleOptions],
    ) -> types.Explanation:
        """Explain the decision on one query, and decide again after hypothetical changes.

        ``RuleOptions`` has the keywords of the ``rule``, as of ``classify``. In
        this call alone, entries may be left out (``remove``), have other labels (``relabel``, by
        id), or be added (``add_vectors`` (n, d) with ``add_labels``). A smallest set of entries
        whose removal flips the label is searched for, ``search_seconds`` at most.
        ``include_thumbnails`` adds thumbnails of the entries, if the memory stores images. Raises
        InvalidArgument, NotFound for entries that do not vote, FailedPrecondition if no entry is
        left to vote.
        """
        call = _decisions.explain(
            self.name,
            await self._client.server_info(),
            images=images,
            vectors=vectors,
            exclude_ids=exclude_ids,
            remove=remove,
            relabel=relabel,
            add_vectors=add_vectors,
            add_labels=add_labels,
            search_seconds=search_seconds,
            include_thumbnails=include_thumbnails,
            **rule,
        )
        return await self._transport.do(call)

    @long_running
    async def assess(
        self,
        *,
        thin: int = 5,
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **rule: Unpack[options.RuleOptions],
    ) -> types.Assessment | types.Operation:
        """Classify each voting entry by the others, and find labels that look wrong.

        ``RuleOptions`` has the keywords of the ``rule``, as of ``classify``. A head
        counts for the accuracies, not for the suspects. Entries of labels with fewer than ``thin``
        entries are classified, but never reported as wrong. With ``wait=False`` the operation is
        returned at once. Raises FailedPrecondition if fewer than two entries vote.
        """
        call = _curation.assess(
            self.name,
            thin=thin,
            request_id=request_id,
            **rule,
        )
        return await self._result(call, wait, progress)

    async def judge_labels(
        self,
        *,
        thin: int = 5,
        progress: Progress | None = None,
        **votes: Unpack[options.VoteOptions],
    ) -> list[types.LabelJudgement]:
        """Judge the label of each voting entry, the most suspicious first.

        ``VoteOptions`` has the keywords of the ``votes``, as of ``classify``.
        The suspects among them are those of ``assess`` with the same arguments, whatever its head:
        class means that leave the entry out are half of each judgement. ``progress`` is called with
        the entries whose neighbours are found, and all entries. Raises Error with the reason
        NOT_DONE if fewer than two entries vote.
        """
        call = _curation.judge_labels(
            self.name,
            thin=thin,
            **votes,
        )
        return await self._transport.find(call, progress)

    @long_running
    async def tune(
        self,
        *,
        measure: options.Measure = "macro_accuracy",
        group_by: str = "",
        apply: bool = False,
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
    ) -> types.TuneResult | types.Operation:
        """Compare rules of decisions by the memory's own entries, and choose one.

        The entries are asked in five folds, each of a memory of the other four; those with the same
        value of the metadata key ``group_by`` are in one fold. The ``measure`` is macro_accuracy,
        accuracy or log_loss. With ``apply`` the rule is the default of the memory until ``undo``:
        a call takes from it what it does not set. With ``wait=False`` the operation is returned at
        once. Raises InvalidArgument, also if no voting entry has the key, and FailedPrecondition if
        fewer than two labels have entries in two folds.
        """
        call = _decisions.tune(
            self.name, measure=measure, group_by=group_by, apply=apply, request_id=request_id
        )
        return await self._result(call, wait, progress)

    @long_running
    async def calibrate(
        self,
        *,
        images: Images | None = None,
        vectors: ArrayLike | None = None,
        labels: Iterable[str] | None = None,
        group_by: str = "",
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
        **rule: Unpack[options.RuleOptions],
    ) -> types.Calibration | types.Operation:
        """Fit confidences, label sets and rejection for decisions made as in ``classify``.

        The decisions are those by the same rule. The fit uses images or vectors that are not
        stored, with their labels. Without any it uses the entries, each classified by the others,
        or by some of those with another value of the metadata key ``group_by``, which guarantees
        no coverage. With ``wait=False`` the operation is returned at once. Raises
        FailedPrecondition if the queries or entries are too few, or all entries have one label,
        InvalidArgument if no entry has the key, or none any of the labels.
        """
        call = _decisions.calibrate(
            self.name,
            await self._client.server_info(),
            images=images,
            vectors=vectors,
            labels=labels,
            group_by=group_by,
            request_id=request_id,
            **rule,
        )
        return await self._result(call, wait, progress)

    async def taxonomy(self) -> types.Taxonomy:
        """Return the taxonomy, the tree over the labels; without edges if none was set."""
        return await self._transport.do(_decisions.get_taxonomy(self.name))

    async def set_taxonomy(
        self, parents: Mapping[str, str], *, request_id: str | None = None
    ) -> types.Taxonomy:
        """Replace the tree over the labels, given as the parent of each node; return the new tree.

        Raises InvalidArgument for a cycle.
        """
        return await self._transport.do(_decisions.set_taxonomy(self.name, parents, request_id))

    async def set_reranker(
        self, reranker: str | None, *, request_id: str | None = None
    ) -> types.MemoryInfo:
        """Set the re-ranker of this memory, or None for none.

        Raises NotFound for a re-ranker that the server lacks, FailedPrecondition if the memory
        stores no images.
        """
        return await self._transport.do(_decisions.set_reranker(self.name, reranker, request_id))

    @long_running
    async def relabel(
        self,
        labels: Mapping[str, str],
        *,
        apply: bool = False,
        request_id: str | None = None,
        wait: Literal[True] = True,
    ) -> types.RelabelResult | types.Operation:
        """Set the label of each id; without ``apply`` only show which would change.

        With ``wait=False`` the operation is returned; it is done already, and has a name if labels
        were set. Raises NotFound for unknown ids.
        """
        return await self._result(_curation.relabel(self.name, labels, apply, request_id), wait)

    @with_dry_run
    async def unlearn(
        self,
        ids: Iterable[str],
        *,
        dry_run: Literal[False] = False,
        allow_missing: bool = False,
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
    ) -> Certificate | types.Operation | types.UnlearnResult:
        """Delete entries, erase every trace of them, and return a certificate of the erasure.

        Before it signs, the server searches its files, and its RAM if it can, for residues.
        ``dry_run`` only counts the entries. Raises NotFound for unknown ids, unless
        ``allow_missing``; if none is stored, nothing is erased or certified, and waiting raises
        FailedPrecondition. With ``wait=False`` the operation is returned at once; it resumes after
        a restart, and ``certificate`` returns its certificate.
        """
        call = _entries.unlearn_entries(
            self.name,
            ids,
            apply=not dry_run,
            allow_missing=allow_missing,
            request_id=request_id,
        )
        result = await self._result(call, wait or dry_run, progress)
        if dry_run or isinstance(result, types.Operation):
            return result
        return await self._transport.do(_audit.get_certificate(result.operation))

    def audit_events(self) -> AsyncIterator[types.AuditEvent]:
        """Iterate over the audit log's events, one for each write, oldest first, unverified."""
        return self._client._pages(partial(_audit.audit_events, self.name))

    async def verify_audit_log(self) -> types.AuditHead:
        """Fetch the whole audit log, check that it matches the memory, and return its head.

        Raises Error with the reason BAD_AUDIT_LOG if events were changed, left out or inserted.
        """
        _, head = await self._client._audit_log(await self.info())
        return head

    @long_running
    async def reembed(
        self,
        embedder: str,
        *,
        former_name: str,
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
    ) -> types.ReembedResult | types.Operation:
        """Embed the stored pictures with another ``embedder``, while the memory serves as before.

        At the end the memory has the new vectors, and ``former_name`` is a copy of what it was.
        Calibration and the rule of a tuning, which depend on vectors, are left out. ``progress`` is
        called with pictures. With ``wait=False`` the operation is returned at once. Raises
        FailedPrecondition if an entry has no stored picture, AlreadyExists if the name is taken.
        """
        call = _memories.reembed(self.name, embedder, former_name, request_id)
        return await self._result(call, wait, progress)

    @long_running
    async def check(
        self,
        *,
        request_id: str | None = None,
        wait: Literal[True] = True,
        progress: Progress | None = None,
    ) -> types.CheckResult | types.Operation:
        """Have the server compare the memory's file with its digest, audit log and RAM.

        ``progress`` is called with the entries and events compared and all of them. With
        ``wait=False`` the operation is returned at once. Raises Error, such as with the reason
        CORRUPT_STORE, if they differ; the server then refuses to use the memory.
        """
        return await self._result(_audit.check(self.name, request_id), wait, progress)

    async def undo(self, operation: str | types.Operation, *, request_id: str | None = None) -> int:
        """Undo a prune, a relabel or a tuning; return the number of entries restored.

        Entries changed since are left out. Undoing a tuning restores the default rule before it and
        no entry, so 0 is returned. Raises NotFound, and FailedPrecondition if ``operation`` is none
        of these, not done, undone before, or a tuning that is not the last.
        """
        return await self._transport.do(_curation.undo(self.name, operation, request_id))

    async def embed(self, images: Images) -> NDArray[np.float32]:
        """Return the float32 unit vectors (n, d) of images by the memory's embedder.

        Raises InvalidArgument, and FailedPrecondition for a memory of vectors.
        """
        import numpy as np

        queries = await asyncio.to_thread(_queries.embed, self.name, images)
        return np.concatenate(await self._client._ask(queries))
