"""The operations on one memory: work that takes long or can be undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from visual_memory_index.errors import (
    CorruptStore,
    FileUnavailable,
    MemoryClosed,
    NotUndoable,
    NotVoting,
    UnknownEntries,
)
from visual_memory_index.memory import default_rules
from visual_memory_index.memory.default_rules import DefaultRule
from visual_memory_index.memory.engine import Engine
from visual_memory_index.memory.reembed import PREFIX
from visual_memory_index.ram.change import Change
from visual_memory_index.ram.ram_copy import RamCopy
from visual_memory_index.records.entry import IdMaker, now
from visual_memory_index.records.operation import (
    GOES_ON,
    GONE,
    REEMBED,
    RESUMED,
    UNDOABLE,
    UNLEARN,
    Operation,
    State,
)
from visual_memory_index.records.request import WITHOUT_ID, Request
from visual_memory_index.records.steps import ascending, equal
from visual_memory_index.store.store import Transaction
from visual_memory_index.votes.rule import Rule

PARTS_AT_ONCE = 4  # of new vectors, some megabytes


class StartedOperation(NamedTuple):
    """An operation; ``again`` is True if an earlier call with the same request began it."""

    operation: Operation
    again: bool


class Operations:
    """The operations of a memory, running and ended."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._unwritten: dict[str, Operation] = {}  # ended operations that the file has as running
        self._has_dropped = True  # False if new vectors are left that no re-embedding needs
        newest = "".join(each.name for each in engine.store.operations(before="", limit=1))
        self._ids = IdMaker(after=newest.rpartition("/")[2])  # clocks may go back
        unfinished = {each.kind for each in engine.store.unfinished()}
        self.has_unfinished = not unfinished.isdisjoint(RESUMED)
        if unfinished.difference(RESUMED):
            engine.store.fail_unfinished()  # the first write, after all checks at opening
        if REEMBED not in unfinished:
            self._drop_new_vectors()

    def get(self, name: str) -> Operation:
        """Return one operation. Raises UnknownOperation."""
        with self._engine.reading_file() as store:
            return self._known(store.operation(name))

    def page(self, *, before: str = "", limit: int) -> list[Operation]:
        """Return up to ``limit`` operations, newest first, whose names sort below ``before``.

        An empty ``before`` starts at the newest.
        """
        with self._engine.reading_file() as store:
            return [*map(self._known, store.operations(before=before, limit=limit))]

    def begin(
        self, kind: str, *, draft: str | None = None, request: Request = WITHOUT_ID
    ) -> StartedOperation:
        """Start a long operation of this ``kind``; for a repeated request return the former one.

        A ``draft``, in JSON, is its result while it runs. Raises RequestReused, FileUnavailable.
        """

        def begin(transaction: Transaction) -> tuple[str, None]:
            self.write_ends_in(transaction)
            name = self.new(transaction, kind, request)
            if draft is not None:
                transaction.draft(name, draft)
            return name, None

        return self.start(request, begin)

    def end_stale(self, problem: str) -> None:
        """End what is stored as running and runs no longer; its ``problem``, if RAM knows none.

        The caller is inside ``Memory.holding_writes``; operations that are resumed stay.
        """
        stale = [each for each in self.unfinished() if each.kind not in RESUMED]
        with self._engine.store.transaction() as transaction:
            self.write_ends_in(transaction)
            for each in stale:
                if transaction.operation(each.name).state == "running":
                    transaction.end(each.name, "failed", problem=problem)

    def write_ends(self) -> None:
        """Write the ends that only RAM has, but not of unlearnings, which go on.

        New vectors that a re-embedding left are deleted. Raises FileUnavailable.
        """

        def write(transaction: Transaction) -> tuple[None, None]:
            self.write_ends_in(transaction)
            return None, None

        if ended := self._ended():
            self._engine.writer.do(write, frees=True)
            for each in ended:
                self._unwritten.pop(each.name, None)
        if not self._has_dropped or any(each.kind == REEMBED for each in ended):
            self._drop_new_vectors()

    def write_ends_in(self, transaction: Transaction) -> None:
        """Write in a ``transaction`` what ``write_ends`` writes."""
        for each in self._ended():
            if transaction.operation(each.name).state == "running":
                transaction.end(each.name, each.state, problem=each.problem)

    def _drop_new_vectors(self) -> None:
        """Delete what a re-embedding stored that was not done, as far as the disk allows.

        The rest is deleted by ``write_ends``, or when the memory is opened again.
        """
        self._has_dropped = False
        with suppress(CorruptStore, FileUnavailable, MemoryClosed):
            names = [*self._engine.store.derived_sizes(PREFIX)]
            for start in range(0, len(names), PARTS_AT_ONCE):
                with self._engine.writer.turn:
                    self._engine.check_open()
                    self._engine.store.drop_derived(names[start : start + PARTS_AT_ONCE])
            self._has_dropped = True

    @property
    def has_put_off(self) -> bool:
        """True if an unlearning was put off."""
        return any(each.kind == UNLEARN for each in [*self._unwritten.values()])

    def _ended(self) -> list[Operation]:
        return [each for each in [*self._unwritten.values()] if each.kind != UNLEARN]

    def unfinished(self, kind: str | None = None) -> list[Operation]:
        """Return what is stored as running, of one kind if it is given, oldest first."""
        with self._engine.reading_file() as store:
            return [each for each in store.unfinished() if kind in (None, each.kind)]

    def start(
        self,
        request: Request,
        write: Callable[[Transaction], tuple[str, Change | None]],
        *,
        frees: bool = False,
    ) -> StartedOperation:
        """Start the operation whose name ``write`` returns, unless this request did so before.

        Then return that operation. ``frees`` is as for ``Writer.do``.
        """

        def once(transaction: Transaction) -> tuple[StartedOperation, Change | None]:
            if (answered := transaction.recall(request)) is not None:
                return StartedOperation(transaction.operation(answered[0]), again=True), None
            name, change = write(transaction)
            transaction.keep(request, [name])
            return StartedOperation(transaction.operation(name), again=False), change

        return self._engine.writer.do(once, frees=frees)

    def new(self, transaction: Transaction, kind: str, request: Request) -> str:
        """Add a running operation of this ``kind`` to the store, and return its name.

        The name is the memory's name, a slash and an id that sorts by time.
        """
        name = f"{self._engine.identity.name}/{self._ids.make()}"
        transaction.begin(name, kind, request.principal)
        return name

    def end(
        self,
        name: str,
        state: State,
        *,
        result: str | None = None,
        problem: str | None = None,
        settings: Callable[[Transaction], Mapping[str, str]] = lambda transaction: {},
        call: str = "",
    ) -> Operation:
        """End an operation that changes no entry, and store ``settings``, logged as ``call``.

        ``settings`` is called in the transaction. An operation that has already ended, such as a
        prune that failed after its commit, stays as it is. If the end cannot be written,
        FileUnavailable is raised if ``state`` is "done"; any other end is kept in RAM instead. New
        vectors of a re-embedding that is not done are deleted.
        """

        def write(transaction: Transaction) -> tuple[Operation, None]:
            if (stored := transaction.operation(name)).state != "running":
                return stored, None
            transaction.end(name, state, result=result, problem=problem)
            ended = transaction.operation(name)
            for setting, value in settings(transaction).items():
                transaction.keep_setting(setting, value)
                transaction.log(call, 0, ended.principal)
            return ended, None

        try:
            ended = self._engine.writer.do(write, frees=state != "done")
        except FileUnavailable:
            if state == "done":
                raise
            return self._remember(self._engine.store.operation(name), state, problem)
        if ended.kind == REEMBED and state != "done":
            self._drop_new_vectors()
        self._engine.read_settings()
        return ended

    def put_off(self, operation: Operation, problem: str) -> None:
        """Report an unlearning as failed, with ``problem`` as the reason.

        That is kept only in RAM: when the memory is opened again, the unlearning is resumed.
        """
        self._remember(operation, "failed", f"{problem} {GOES_ON}")

    def _remember(self, operation: Operation, state: State, problem: str | None) -> Operation:
        ended = replace(operation, state=state, problem=problem, ended_at=now())
        self._unwritten[operation.name] = ended
        return self._known(operation)

    def _known(self, stored: Operation) -> Operation:
        """Return an operation as ``stored``, or as it ended if its end could not be written."""
        return self._unwritten.get(stored.name, stored) if stored.state == "running" else stored

    def drop_problems(self) -> None:
        """Drop error messages of operations that only RAM has: they may name unlearned entries."""
        for name, ended in [*self._unwritten.items()]:
            if ended.problem:
                problem = GOES_ON if ended.kind == UNLEARN else GONE
                self._unwritten[name] = replace(ended, problem=problem)

    def prune(
        self,
        ids: Sequence[str],
        *,
        operation: str,
        result: Callable[[list[str]], str],
        snapshot: RamCopy | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Operation:
        """Prune ``ids``, so that they lose their votes, and end the operation.

        ``result`` makes the operation's result, a JSON text, from the pruned ids. If a ``snapshot``
        is given, entries that no longer vote with the vector and label they have in it are left
        out; without a snapshot all ``ids`` must vote. ``check`` is called first, and may raise.
        Raises UnknownEntries, NotVoting, FileUnavailable.
        """

        def write(transaction: Transaction) -> tuple[Operation, Change]:
            check()
            known, unknown = transaction.look_up(ids)
            if snapshot is not None:
                known = known.at(known.votes & snapshot.has(known.keys, known.labels))
            elif unknown:
                raise UnknownEntries(unknown)
            elif not known.votes.all():
                raise NotVoting(known.ids[~known.votes].tolist())
            transaction.prune(known.keys, operation)
            transaction.end(operation, "done", result=result(known.ids.tolist()))
            ended = transaction.operation(operation)
            transaction.log("PruneEntries", len(known.keys), ended.principal)
            return ended, Change(pruned=known.keys)

        return self._engine.writer.do(write)

    def relabel(
        self,
        labels: Mapping[str, str],
        *,
        result: Callable[[list[str]], str],
        request: Request = WITHOUT_ID,
    ) -> Operation:
        """Set the label of each id, as an operation that can be undone.

        ``result`` makes the operation's result, a JSON text, from the ids whose labels changed,
        ascending. Raises UnknownEntries, RequestReused, FileUnavailable.
        """

        def write(transaction: Transaction) -> tuple[str, Change | None]:
            known, unknown = transaction.look_up(labels)
            if unknown:
                raise UnknownEntries(ascending(unknown))
            wanted = (labels[id] for id in known.ids)
            new = np.fromiter(wanted, object, len(known.ids))
            differs = ~equal(known.labels, new)
            changed, new = known.at(differs), new[differs]
            name = self.new(transaction, "relabel", request)
            transaction.relabel(changed.keys, new, name)
            transaction.end(name, "done", result=result(ascending(changed.ids)))
            transaction.log("RelabelEntries", len(changed.keys), request.principal)
            return name, Change(relabelled=changed.keys, labels=new)

        return self.start(request, write).operation

    def would_relabel(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return the ``labels`` that ``relabel`` would change now, by id. Raises UnknownEntries."""
        with self._engine.reading_ram() as ram:
            before = ram.labels_of([*labels])
        if unknown := [id for id, label in zip(labels, before, strict=True) if label is None]:
            raise UnknownEntries(ascending(unknown))
        new = labels.items()
        return {id: label for (id, label), old in zip(new, before, strict=True) if old != label}

    def tune(self, rule: Rule, *, operation: str, result: str, revision: int) -> Operation:
        """Make ``rule`` the default, and end the operation with its ``result``, a JSON text.

        ``revision`` is that of the entries by which the rule was chosen. Raises FileUnavailable.
        """

        def settings(transaction: Transaction) -> Mapping[str, str]:
            new = DefaultRule(rule, id_of(operation), revision, now())
            rules = default_rules.from_json(transaction.setting(default_rules.SETTING))
            return {default_rules.SETTING: default_rules.to_json([new, *rules])}

        return self.end(operation, "done", result=result, settings=settings, call="TuneMemory")

    def undo(self, name: str, *, request: Request = WITHOUT_ID) -> list[str]:
        """Undo a prune, a relabelling or a tuning; return the ids of the entries changed.

        Entries that the prune silenced and that are still stored vote again; labels that the
        relabelling replaced return, unless they were set since; the default rule before the tuning
        is that of the memory again, if no other was set since. Raises UnknownOperation,
        NotUndoable, RequestReused, FileUnavailable.
        """

        def write(transaction: Transaction) -> tuple[list[str], Change | None]:
            operation = self._known(transaction.operation(name))
            check_undoable(operation)
            transaction.mark_undone(name)
            if operation.kind == "tune":
                untune(transaction, name)
                return [], None
            if operation.kind == "prune":
                back = transaction.unprune(name, self._engine.identity.dimension)
                return [*back.ids], Change(back.keys, back)
            restored = transaction.unrelabel(name)
            return restored.ids.tolist(), Change(relabelled=restored.keys, labels=restored.labels)

        restored = self._engine.do_once("Undo", request, write)
        self._engine.read_settings()
        return restored


def id_of(operation: str) -> str:
    """Return the id in an operation's name, which copies of the memory keep."""
    return operation.rpartition("/")[2]


def untune(transaction: Transaction, operation: str) -> None:
    """Make the rule before that of ``operation`` the default again. Raises NotUndoable."""
    rules = default_rules.from_json(transaction.setting(default_rules.SETTING))
    if not any(each.operation == id_of(operation) for each in rules):
        raise NotUndoable(operation, "its rule went when the memory was re-embedded")
    newest, *before = rules
    if newest.operation != id_of(operation):
        first = f"{operation.rpartition('/')[0]}/{newest.operation}"
        raise NotUndoable(operation, f"another rule was made the default since; undo {first} first")
    transaction.keep_setting(default_rules.SETTING, default_rules.to_json(before))


def check_undoable(operation: Operation) -> None:
    """Check that an operation can be undone. Raises NotUndoable."""
    if operation.undone_at is not None:
        raise NotUndoable(operation.name, "it was undone before")
    if operation.kind not in UNDOABLE or operation.state != "done":
        problem = f"its kind is {operation.kind} and its state {operation.state}"
        only = "only a prune, relabel or tune that is done can"
        if operation.kind == REEMBED:
            only += "; a copy of the memory with the former vectors undoes a reembed"
        raise NotUndoable(operation.name, f"{problem}; {only}")
