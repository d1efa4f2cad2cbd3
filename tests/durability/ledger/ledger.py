"""The oracle of all labs: what was sent and answered, and hence what a data folder may hold.

Each writer has a ledger of its own and entries of its own, which their metadata name: ``writer``,
and a ``key`` that no other entry has. It sends one flight at a time: one call, a stream of batches,
or a prune and its end. So after any trouble its entries are as every answered write left them, or
as the first of those under way did, and nothing else is allowed: nothing lost, half or come back.
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
    """An entry; ``id`` is empty where the server makes one.

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
    """What is one writer's in one memory.

    ``operations`` by request_id, of a relabel with the label that each key had and who had set it;
    ``imported`` counts what of an import is stored.
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
    """``request_id`` and ``offset`` are those of a batch of an import."""

    def change(part: Part) -> Part | None:
        if not replace_existing and part.entries.keys() & entries.keys():
            return None
        if request_id and part.imported.get(request_id, 0) != offset:
            return None
        imported = {request_id: offset + len(entries)} if request_id else part.imported
        return replace(part, entries={**part.entries, **entries}, imported=imported)

    return within(memory, change)


def updated(memory: str, key: str, **changes: Any) -> Effect:
    """``changes`` are ``label`` or ``metadata``."""

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
    """The entry with the label that it had before the relabels that are undone."""
    while entry.labelled_by in over:
        label, labelled_by = part.operations[entry.labelled_by][key]
        entry = replace(entry, label=label, labelled_by=labelled_by)
    return entry


def unchanged(state: State) -> State:
    """Of a call that writes nothing but its answer."""
    return state


def within(memory: str, change: Change, *, then: Effect | None = None) -> Effect:
    """A change of what is in one memory, which must be there."""

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
    """A call, or a batch of an import with its start: what it does, and its answer, if one came.

    A write without requests is the end of an operation. ``keys`` are those of the entries that it
    brings, and ``ids`` what it was told of them. ``receipt`` says which answer of the writer's
    connection it was: the number of the call, and of the message in it.
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
        """Whether it is one of an import."""
        return self.method == "ImportEntries"

    def send(self, stub: Any) -> Any:
        """Send it alone, once more; what it is answered with."""
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
    """What stays the same of an answer that is given again."""
    if answer is None:
        return b""
    if isinstance(answer, entry_pb2.Entry):
        return bytes(answer.id, "utf-8")
    if isinstance(answer, memory_pb2.Memory | operation_pb2.Operation):
        return bytes(answer.name, "utf-8")
    data: bytes = answer.SerializeToString(deterministic=True)
    return data


class Ledger:
    """The writes of one writer, in order, and what they may have come to.

    ``under_way`` are those that are not answered yet, or never were; ``unheard`` those of them that
    turned out to be done. ``repeatable`` are those whose answers a server still has to know: those
    of memories that still are, and drops.
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
        """What a writer goes by."""
        return self.states[0]

    def sent(self, flight: Sequence[Write]) -> None:
        """These are under way, perhaps once more, and are done in this order."""
        if self.under_way:
            assert list(flight) == self.under_way
            return
        self._flights += 1
        for write in flight:
            write.flight = self._flights
        self.writes += flight
        self.under_way = list(flight)

    def answered(self, answer: Any, receipt: tuple[int, int] | None = None) -> None:
        """The first of those under way was done, now or by an earlier try."""
        write = self.under_way.pop(0)
        write.receipt = receipt
        self.heard(write, answer)
        self.states = distinct(those_done(write.effect, self.states))
        assert self.states, f"{write.method} was done, which should have been refused"
        self._doubted = []

    def heard(self, write: Write, answer: Any) -> None:
        """This is what a write was answered with."""
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
        """The states after none, one, two and so on of the writes."""
        states = [self.start]
        for write in self.writes:
            (state,) = those_done(write.effect, states[-1:])
            states.append(state)
        return states

    def under_way_after(self, count: int) -> list[Write]:
        """The writes that may have been under way when so many had been answered."""
        following = self.writes[count:]
        return [write for write in following if write.flight == following[0].flight]

    def earlier(self, count: int) -> Ledger:
        """The ledger when the first ``count`` writes had been answered, and others were sent."""
        earlier = Ledger(self.writer, self.shared)
        earlier.states = [self.history()[count]]
        for write in self.writes[:count]:
            earlier._note(write)
        earlier.writes = self.writes[:count]
        earlier.sent([replace(write, answer=None) for write in self.under_way_after(count)])
        return earlier

    def refused(self) -> None:
        """Nothing more of those under way is done, as long as the server runs."""
        self._doubted = distinct([*self._doubted, *self._possible(self.states)])
        self.under_way = []

    def killed(self) -> None:
        """What a failing disk made the server refuse may be found in the log by the next server."""
        self.states = distinct([*self.states, *self._doubted])
        self._doubted = []

    def settle(self, contents: Contents) -> list[str]:
        """What is wrong with ``contents``; what is not in it was not done, and is under way yet."""
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
        """What may be: those under way are done in order, as far as they are."""
        possible, reached = list(states), list(states)
        for write in self.under_way:
            reached = those_done(write.effect, reached)
            possible += reached
        return possible

    def _learn(self, state: State, contents: Contents) -> None:
        """The ids that nobody was told."""
        for memory, part in state.items():
            found = contents[memory].of(self.writer)
            self.ids |= {key: found[key].id for key, entry in part.entries.items() if not entry.id}

    def differences(self, state: State, contents: Contents) -> list[str]:
        """How what is stored differs from what ``state`` says."""
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
        """The memories in ``contents`` that only this writer writes to."""
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
    """The states after a write, of those in which it is not refused."""
    return [after for state in states if (after := effect(state)) is not None]


def distinct(states: Iterable[State]) -> list[State]:
    different: list[State] = []
    for state in states:
        if state not in different:
            different.append(state)
    return different


def judge(contents: Contents, ledgers: Sequence[Ledger]) -> list[str]:
    """All that is wrong with what a data folder holds; each ledger settles on what it holds."""
    problems = strangers(contents, ledgers)
    for memory in contents.values():
        problems += memory.inconsistencies()
    for ledger in ledgers:
        problems += ledger.settle(contents)
    return problems


def strangers(contents: Contents, ledgers: Sequence[Ledger]) -> list[str]:
    """Memories and entries that no writer has made."""
    writers = {ledger.writer for ledger in ledgers}
    known = {name for ledger in ledgers for name in ledger.shared | ledger.own(contents)}
    problems = [f"nobody made memory {name}" for name in contents.keys() - known]
    for memory in contents.values():
        keys = [(entry.metadata.get(WRITER), entry.metadata.get(KEY)) for entry in memory.entries]
        problems += [f"nobody made {key}" for key in keys if key[0] not in writers]
        problems += [f"{key} is there twice" for key in set(keys) if keys.count(key) > 1]
    return problems
