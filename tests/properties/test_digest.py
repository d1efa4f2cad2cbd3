"""Equal sets of entries have equal digests and decisions after any history; others differ."""

from __future__ import annotations

import os
import random
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.properties.test_curation import (
    IDS,
    LABELS,
    VECTORS,
    CurationMachine,
    Kept,
    Undoable,
    some_ids,
)

from visual_memory_index import WITHOUT_ID, Catalog, Entry, Memory, Query
from visual_memory_index.store.store import new_identity
from visual_memory_index.votes.voting import VOTINGS, Decision, decide

State = frozenset[tuple[str, str, int, bool]]
STATES: dict[str, State] = {}  # of all histories, by digest
DIGESTS: dict[State, str] = {}


@dataclass(frozen=True)
class Backup:
    """A backup, the oracle's content at that time, and the number of unlearnings before it."""

    data: bytes
    model: dict[str, Kept]
    operations: dict[str, Undoable]
    unlearnings: int


class DigestMachine(CurationMachine):
    """Makes every kind of change to a memory, in a folder with backups."""

    def __init__(self) -> None:
        super().__init__()
        self.memory.close()
        self.catalog = Catalog(Path(self.folder.name) / "data")
        memory = self.catalog.create("m", dimension=4, embedder=None)
        assert memory is not None
        self.memory = memory
        self.backups: list[Backup] = []
        self.unlearned: list[set[str]] = []

    def teardown(self) -> None:
        self.check_as_fresh()
        self.memory.close()
        self.catalog.close()
        self.folder.cleanup()

    @initialize(seed=st.integers(0, 2**32 - 1))
    def fill(self, seed: int) -> None:
        chance = random.Random(seed)
        ids = chance.sample(IDS, chance.randint(0, len(IDS)))
        self.insert([(id, chance.choice(LABELS), chance.randrange(len(VECTORS))) for id in ids])

    @rule()
    def reopen(self) -> None:
        name = self.memory.identity.name
        self.memory.close()
        self.catalog.close()
        self.catalog = Catalog(self.catalog.folder)
        self.memory = self.catalog.open(name)

    @rule(gone=some_ids)
    def unlearn(self, gone: list[str]) -> None:
        begun = self.memory.unlearning.begin(gone, allow_missing=True).operation
        self.catalog.mark_unlearned(self.memory, self.memory.unlearning.ids(begun.name), begun.name)
        traces = self.memory.unlearning.erase(begun.name, settings=(), draft=lambda facts: "{}")
        searched = self.memory.unlearning.erase_file(traces)
        assert searched is not None
        assert searched.found == frozenset()
        self.memory.operations.end(begun.name, "done", result="{}")
        for id in gone:
            self.model.pop(id, None)
        self.unlearned.append(set(gone))

    @rule()
    def back_up(self) -> None:
        with self.catalog.backup(self.memory, settings=(), check=lambda: None) as file:
            data = file.read()
        model, operations = deepcopy((self.model, self.operations))
        self.backups.append(Backup(data, model, operations, len(self.unlearned)))

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Continue with the memory of a backup, without entries unlearned since."""
        backup = data.draw(st.sampled_from(self.backups))
        former, name = self.memory.identity.name, f"m{random.getrandbits(64):x}"
        with self.catalog.arrival() as arrival:
            arrival.write(backup.data)
            arrival.finish()
            with self.catalog.rebuilt(arrival, name, settings=(), check=lambda: None) as rebuilt:
                memory = self.catalog.adopt(rebuilt, rebuilt.left_out, WITHOUT_ID)
        assert memory is not None
        self.memory.close()
        self.catalog.drop(former)
        self.catalog.clear()
        self.memory = memory
        model, operations = deepcopy((backup.model, backup.operations))
        gone = set[str]().union(*self.unlearned[backup.unlearnings :])
        assert rebuilt.left_out == len(gone & model.keys())
        self.model = {id: kept for id, kept in model.items() if id not in gone}
        self.operations = {renamed(each, name): done for each, done in operations.items()}
        for kept in self.model.values():
            kept.pruned_by, kept.setter = renamed(kept.pruned_by, name), renamed(kept.setter, name)
        for done in self.operations.values():
            done.before = {
                id: (kept, label, renamed(setter, name))
                for id, (kept, label, setter) in done.before.items()
            }

    @invariant()
    def digest_tells_the_state(self) -> None:
        digest, state = self.memory.info().digest, self.state()
        assert STATES.setdefault(digest, state) == state
        assert DIGESTS.setdefault(state, digest) == digest

    def state(self) -> State:
        return frozenset(
            (id, kept.label, kept.direction, bool(kept.pruned_by))
            for id, kept in self.model.items()
        )

    def check_as_fresh(self) -> None:
        """Check that decisions and counts are those of a new memory with the same entries."""
        path = Path(self.folder.name) / "fresh.sqlite"
        with closing(Memory.create(path, new_identity("fresh", 4, None))) as fresh:
            ids = random.sample(sorted(self.model), len(self.model))
            rows = VECTORS[[self.model[id].direction for id in ids]].reshape(-1, 4)
            fresh.insert([Entry(id, self.model[id].label) for id in ids], rows)
            pruned = [id for id in ids if self.model[id].pruned_by]
            fresh.operations.prune(
                pruned, operation=fresh.operations.begin("prune").operation.name, result=str
            )

            assert fresh.info().digest == self.memory.info().digest
            assert answers(fresh) == answers(self.memory)


def renamed(operation: str, memory: str) -> str:
    """Return the operation's name in a memory restored under another name."""
    return operation and memory + operation[operation.index("/") :]


def answers(memory: Memory) -> list[object]:
    """Return neighbours, decisions of all voting rules, and counts."""
    if not memory.count:
        return []
    counts = memory.misleading_counts(3)
    columns = zip(counts.ids.tolist(), counts.v.tolist(), counts.c.tolist(), strict=True)
    found: list[object] = [*sorted(columns)]
    for k in (1, 5, 50):
        (neighbors,) = memory.nearest([Query(VECTORS, k)])
        found += [neighbors.ids.tolist(), neighbors.distances.tobytes()]
        for voting in VOTINGS.values():
            found += map(bits, decide(neighbors, voting))
    return found


def bits(decision: Decision) -> list[object]:
    """Return all of a decision, exact to the last bit."""
    columns = (decision.ids.tolist(), decision.labels.tolist())
    numbers = [decision.confidence, *decision.scores.values()]
    numbers += [*decision.distances, *decision.weights]
    return [decision.label, *decision.scores, *columns, np.array(numbers).tobytes()]


def test_a_digest_stands_for_the_entries_and_the_entries_for_the_decisions() -> None:
    histories = int(os.environ.get("HISTORIES", "20"))
    run_state_machine_as_test(
        DigestMachine, settings=settings(max_examples=histories, stateful_step_count=20)
    )
    assert len(STATES) == len(DIGESTS) > histories
