"""The oracle of all labs: the writes sent and answered, and hence what a data folder may hold.

Each writer has its own ledger and its own entries, named in their metadata by ``writer`` and a
unique ``key``. A writer sends one flight at a time: one call, a stream of batches, or a prune and
its end. After any trouble its entries must be as all answered writes left them, or as the first few
unanswered writes did. Nothing else is allowed: nothing lost, half done or restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import grpc
from tests.durability.ledger.contents import Contents, Found

from visual_memory.errors import from_rpc
from visual_memory.v1 import entry_pb2, memory_pb2, operation_pb2

WRITER, KEY = "writer", "key"


@dataclass(frozen=True, slots=True)
class Remembered:
    """An entry; ``id`` is empty if the server makes the id.

    ``pruned_by`` and ``labelled_by`` are the request_ids of the prune and the relabel.
    """

    id: str
    label: str
    metadata: Mapping[str, str]
    vector: bytes
    image: bytes = b""
    pruned_by: str = ""
    labelled_by: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """The entries and operations of one writer in one memory.

    ``operations`` by request_id; a relabel has, by key, the label before and its relabel.
    ``imported`` counts the entries of each import that are stored.
    """

    entries: Mapping[str, Remembered] = field(default_factory=dict)
    operations: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    undone: frozenset[str] = frozenset()
    imported: Mapping[str, int] = field(default_factory=dict)


State: TypeAlias = Mapping[str, Part]  # by memory
Effect: TypeAlias = Callable[[State], "State | None"]  # None where the server would refuse
Change: TypeAlias = Callable[[Part], "Part | None"]


def created(memory: str) -> Effect:
    return lambda state: None if memory in state else {**state, memory: Part()}


def dropped(memory: str) -> Effect:
    def effect(state: State) -> State | None:
        return {name: part for name, part in state.items() if name != memory}

    return within(memory, lambda part: part, then=effect)


def inserted(
    memory: str,
    entries: Mapping[str, Remembered],
    *,
    replace_existing: bool = False,
    request_id: str = "",
    offset: int = 0,
) -> Effect:
    """Return the effect of an insertion, or of the batch at ``offset`` of an import."""

    def change(part: Part) -> Part | None:
        if not replace_existing and part.entries.keys() & entries.keys():
            return None
        if request_id and part.imported.get(request_id, 0) != offset:
            return None
        imported = {request_id: offset + len(entries)} if request_id else part.imported
        return replace(part, entries={**part.entries, **entries}, imported=imported)

    return within(memory, change)


def updated(memory: str, key: str, **changes: Any) -> Effect:
    """Return the effect of setting an entry's ``label`` or ``metadata``."""

    def change(part: Part) -> Part | None:
        before = part.entries.get(key)
        if before is None:
            return None
        after = replace(before, **changes)
        if after.label != before.label:
            after = replace(after, labelled_by="")
        return replace(part, entries={**part.entries, key: after})

    return within(memory, change)


def deleted(memory: str, keys: Iterable[str], *, allow_missing: bool = False) -> Effect:
    gone = set(keys)

    def change(part: Part) -> Part | None:
        if not allow_missing and not gone <= part.entries.keys():
            return None
        return without(part, gone)

    return within(memory, change)


def purged(memory: str, label: str) -> Effect:
    def change(part: Part) -> Part:
        return without(part, {key for key, each in part.entries.items() if each.label == label})

    return within(memory, change)


def pruned(memory: str, keys: Sequence[str], request_id: str) -> Effect:
    def change(part: Part) -> Part | None:
        if any(key not in part.entries or part.entries[key].pruned_by for key in keys):
            return None
        taken = {key: replace(part.entries[key], pruned_by=request_id) for key in keys}
        return replace(
            part,
            entries={**part.entries, **taken},
            operations={**part.operations, request_id: {}},
        )

    return within(memory, change)


def relabelled(memory: str, labels: Mapping[str, str], request_id: str) -> Effect:
    def change(part: Part) -> Part | None:
        if not labels.keys() <= part.entries.keys():
            return None
        changed = {
            key: part.entries[key] for key in labels if part.entries[key].label != labels[key]
        }
        after = {
            key: replace(entry, label=labels[key], labelled_by=request_id)
            for key, entry in changed.items()
        }
        before = {key: (entry.label, entry.labelled_by) for key, entry in changed.items()}
        return replace(
            part,
            entries={**part.entries, **after},
            operations={**part.operations, request_id: before},
        )

    return within(memory, change)


def undone(memory: str, request_id: str) -> Effect:
    def change(part: Part) -> Part | None:
        if request_id not in part.operations or request_id in part.undone:
            return None
        over = part.undone | {request_id}
        entries = {key: unlabelled(key, entry, part, over) for key, entry in part.entries.items()}
        entries = {
            key: replace(entry, pruned_by="") if entry.pruned_by == request_id else entry
            for key, entry in entries.items()
        }
        return replace(part, entries=entries, undone=over)

    return within(memory, change)


def unlabelled(key: str, entry: Remembered, part: Part, over: frozenset[str]) -> Remembered:
    """Return the entry with the label from before the relabels in ``over``, which are undone."""
    while entry.labelled_by in over:
        label, labelled_by = part.operations[entry.labelled_by][key]
        entry = replace(entry, label=label, labelled_by=labelled_by)
    return entry


def unchanged(state: State) -> State:
    """Return the state: the effect of a call that writes nothing but its answer."""
    return state


def within(memory: str, change: Change, *, then: Effect | None = None) -> Effect:
    """Return the effect of a change to the part in one memory, refused if there is no memory."""

    def effect(state: State) -> State | None:
        part = change(state[memory]) if memory in state else None
        if part is None:
            return None
        return then(state) if then else {**state, memory: part}

    return effect


def without(part: Part, keys: set[str]) -> Part:
    left = {key: entry for key, entry in part.entries.items() if key not in keys}
    return replace(part, entries=left)


@dataclass(eq=False, slots=True)
class Write:
    """A call, or a batch of an import with its start: its effect and, once it came, its answer.

    A write without requests is the end of an operation. ``keys`` are those of the inserted entries,
    and ``ids`` their ids in the answer. ``receipt`` locates the answer on the writer's connection:
    the number of the call, and of the message in it.
    """

    memory: str
    method: str
    requests: Sequence[Any]
    effect: Effect
    keys: Sequence[str] = ()
    ids: Sequence[str] = ()
    answer: bytes | None = None
    receipt: tuple[int, int] | None = None
    flight: int = -1

    @property
    def request_id(self) -> str:
        id: str = self.requests[0].start.request_id if self.batch else self.requests[0].request_id
        return id

    @property
    def batch(self) -> bool:
        """Return True for a batch of an import."""
        return self.method == "ImportEntries"

    def send(self, stub: Any) -> Any:
        """Send the write again, alone, and return its answer."""
        if self.batch:
            *_, last = stub.ImportEntries(iter(self.requests))
            return last
        try:
            return getattr(stub, self.method)(self.requests[0])
        except grpc.RpcError as error:
            if from_rpc(error, "the server").reason != "DELETED_SINCE":
                raise
            return self.requests[0].entry


def essence(answer: Any) -> bytes:
    """Return the part of an answer that must be equal when a write is repeated."""
    if answer is None:
        return b""
    if isinstance(answer, entry_pb2.Entry):
        return bytes(answer.id, "utf-8")
    if isinstance(answer, memory_pb2.Memory | operation_pb2.Operation):
        return bytes(answer.name, "utf-8")
    data: bytes = answer.SerializeToString(deterministic=True)
    return data


class Ledger:
    """The writes of one writer, in order, and the states that may follow from them.

    ``under_way`` are the unanswered writes; ``unheard`` are unanswered writes found to be done.
    ``repeatable`` are the writes whose answers a server must still know: drops, and writes to
    memories that exist.
    """

    def __init__(self, writer: str, shared: Iterable[str]) -> None:
        self.writer, self.shared = writer, frozenset(shared)
        self.start: State = {memory: Part() for memory in shared}
        self.states: list[State] = [self.start]  # after all but those under way
        self.writes: list[Write] = []
        self.names: dict[str, str] = {}  # of operations, by request_id
        self.ids: dict[str, str] = {}  # made by the server, by key
        self.under_way: list[Write] = []
        self.unheard: list[Write] = []
        self.repeatable: list[Write] = []
        self._doubted: list[State] = []
        self._flights = 0

    @property
    def state(self) -> State:
        """Return the state by which the writer chooses its next write."""
        return self.states[0]

    def sent(self, flight: Sequence[Write]) -> None:
        """Note that writes were sent, perhaps again; the server does them in this order."""
        if self.under_way:
            assert list(flight) == self.under_way
            return
        self._flights += 1
        for write in flight:
            write.flight = self._flights
        self.writes += flight
        self.under_way = list(flight)

    def answered(self, answer: Any, receipt: tuple[int, int] | None = None) -> None:
        """Note the answer of the first write under way, which is therefore done."""
        write = self.under_way.pop(0)
        write.receipt = receipt
        self.heard(write, answer)
        self.states = distinct(those_done(write.effect, self.states))
        assert self.states, f"{write.method} was done, which should have been refused"
        self._doubted = []

    def heard(self, write: Write, answer: Any) -> None:
        """Note the answer of a write."""
        write.answer = essence(answer)
        if write.keys:
            write.ids = list(answer.ids)
        self._note(write)

    def _note(self, write: Write) -> None:
        assert write.answer is not None
        self.ids |= dict(zip(write.keys, write.ids, strict=True))
        if write.requests and write.method in ("PruneEntries", "RelabelEntries"):
            self.names[write.request_id] = write.answer.decode()
        if write.method == "DeleteMemory":
            self.repeatable = [
                each
                for each in self.repeatable
                if each.method == write.method or each.memory != write.memory
            ]
        if write.requests:
            self.repeatable.append(write)

    def history(self) -> list[State]:
        """Return the states after none, one, two and so on of the writes."""
        states = [self.start]
        for write in self.writes:
            (state,) = those_done(write.effect, states[-1:])
            states.append(state)
        return states

    def under_way_after(self, count: int) -> list[Write]:
        """Return the writes that may have been under way after ``count`` answers."""
        following = self.writes[count:]
        return [write for write in following if write.flight == following[0].flight]

    def earlier(self, count: int) -> Ledger:
        """Return the ledger after ``count`` writes were answered and the next flight was sent."""
        earlier = Ledger(self.writer, self.shared)
        earlier.states = [self.history()[count]]
        for write in self.writes[:count]:
            earlier._note(write)
        earlier.writes = self.writes[:count]
        earlier.sent([replace(write, answer=None) for write in self.under_way_after(count)])
        return earlier

    def refused(self) -> None:
        """Note that the writes under way were refused; the running server does none of them."""
        self._doubted = distinct([*self._doubted, *self._possible(self.states)])
        self.under_way = []

    def killed(self) -> None:
        """Allow that refused writes are found in the log by the next server."""
        self.states = distinct([*self.states, *self._doubted])
        self._doubted = []

    def settle(self, contents: Contents) -> list[str]:
        """Find the possible state that ``contents`` show; return the problems if there is none.

        Writes that are not in it stay under way.
        """
        problems = list[str]()
        for state in self.states:
            for done, reached in enumerate(self._possible([state])):
                wrong = self.differences(reached, contents)
                if not wrong:
                    self.states = [reached]
                    self._learn(reached, contents)
                    self.unheard += self.under_way[:done]
                    self.under_way = self.under_way[done:]
                    return []
                problems = wrong if not problems or len(wrong) < len(problems) else problems
        return problems

    def _possible(self, states: Sequence[State]) -> list[State]:
        """Return the states after none, the first, the first two … of the writes under way."""
        possible, reached = list(states), list(states)
        for write in self.under_way:
            reached = those_done(write.effect, reached)
            possible += reached
        return possible

    def _learn(self, state: State, contents: Contents) -> None:
        """Note the ids that the server made and no answer has told."""
        for memory, part in state.items():
            found = contents[memory].of(self.writer)
            self.ids |= {key: found[key].id for key, entry in part.entries.items() if not entry.id}

    def differences(self, state: State, contents: Contents) -> list[str]:
        """List how ``contents`` differ from ``state``."""
        problems = []
        for name in sorted(state.keys() | self.own(contents)):
            if name not in contents:
                problems.append(f"{self.writer}: memory {name} is lost")
            elif name not in state:
                problems.append(f"{self.writer}: memory {name} should not be there")
            else:
                found = contents[name].of(self.writer)
                problems += self._differences_in(name, state[name], found)
                problems += self._differing_operations(state[name], contents[name].operations)
        return problems

    def own(self, contents: Contents) -> set[str]:
        """Return the memories in ``contents`` that only this writer writes to."""
        return {name for name in contents if name.startswith(f"{self.writer}-")}

    def _differences_in(self, name: str, part: Part, found: Mapping[str, Found]) -> list[str]:
        problems = []
        for key in sorted(part.entries.keys() | found.keys()):
            where = f"{self.writer}: {key} in {name}"
            if key not in found:
                problems.append(f"{where} is lost")
            elif key not in part.entries:
                problems.append(f"{where} should not be there")
            elif wrong := self._differing(part.entries[key], found[key]):
                problems.append(f"{where} has another {' and '.join(wrong)}")
        return problems

    def _differing(self, entry: Remembered, found: Found) -> list[str]:
        pruned_by = self.names.get(entry.pruned_by, found.pruned_by or "unknown")
        expected = {
            "id": entry.id or self.ids.get(found.metadata[KEY], found.id),
            "label": entry.label,
            "metadata": entry.metadata,
            "vector": entry.vector,
            "image": entry.image,
            "pruned_by": pruned_by if entry.pruned_by else "",
        }
        return [name for name, value in expected.items() if getattr(found, name) != value]

    def _differing_operations(self, part: Part, found: Mapping[str, tuple[str, bool]]) -> list[str]:
        problems = []
        for request_id in part.operations.keys() & self.names.keys():
            name = self.names[request_id]
            expected = ("done", request_id in part.undone)
            if found.get(name) != expected:
                problems.append(f"{self.writer}: {name} is {found.get(name)}, not {expected}")
        return problems


def those_done(effect: Effect, states: Iterable[State]) -> list[State]:
    """Return the state after a write, for each of ``states`` in which it is not refused."""
    return [after for state in states if (after := effect(state)) is not None]


def distinct(states: Iterable[State]) -> list[State]:
    different: list[State] = []
    for state in states:
        if state not in different:
            different.append(state)
    return different


def judge(contents: Contents, ledgers: Sequence[Ledger]) -> list[str]:
    """List all problems of a data folder's contents; settle each ledger on them."""
    problems = strangers(contents, ledgers)
    for memory in contents.values():
        problems += memory.inconsistencies()
    for ledger in ledgers:
        problems += ledger.settle(contents)
    return problems


def strangers(contents: Contents, ledgers: Sequence[Ledger]) -> list[str]:
    """List memories and entries that no writer has made, and keys that are there twice."""
    writers = {ledger.writer for ledger in ledgers}
    known = {name for ledger in ledgers for name in ledger.shared | ledger.own(contents)}
    problems = [f"nobody made memory {name}" for name in contents.keys() - known]
    for memory in contents.values():
        keys = [(entry.metadata.get(WRITER), entry.metadata.get(KEY)) for entry in memory.entries]
        problems += [f"nobody made {key}" for key in keys if key[0] not in writers]
        problems += [f"{key} is there twice" for key in set(keys) if keys.count(key) > 1]
    return problems
