"""3,000 random edits with restarts: every answer is that of ten plain lines of NumPy."""

from __future__ import annotations

import math
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray
from tests.conftest import RemoteMemory, to_vectors

from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start

Admits: TypeAlias = Callable[[str, str, str], bool]  # of an id, a label and a source

DIMENSION = 24
EDITS = int(os.environ.get("EDITS", "600"))
EDITS_BETWEEN_QUESTIONS = 30
RESTARTS = int(os.environ.get("RESTARTS", "5"))
LABELS = ["cat", "dog", "é", "0"]
SOURCES = ["web", "film"]
VOTINGS: dict[str, Callable[[NDArray[np.float64]], Any]] = {
    "plurality": lambda distances: np.ones(len(distances)),
    "distance": lambda distances: [exp(-each) for each in distances.tolist()],
    "softmax": lambda distances: [exp((1.0 - each) / 0.07) for each in distances.tolist()],
    "rank": lambda distances: 1.0 / (2.0 + np.arange(len(distances))),
}


def exp(power: float) -> float:
    """Return e to a power: 13 terms of the series for the rest, after whole doublings."""
    doublings = round(power / math.log(2))
    rest = power - doublings * float.fromhex("0x1.62e42feep-1")
    rest -= doublings * float.fromhex("0x1.a39ef35793c76p-33")
    total = 1.0
    for term in range(13, 0, -1):
        total = 1.0 + total * rest / term
    return math.ldexp(total, doublings)


def halving_sum(terms: Sequence[float]) -> float:
    """Sum in the fixed order: the upper half is added to the lower, until one term is left."""
    while len(terms) > 1:
        half = (len(terms) + 1) // 2
        pairs = zip_longest(terms[:half], terms[half:], fillvalue=0.0)
        terms = [lower + upper for lower, upper in pairs]
    return terms[0]


def unit(row: NDArray[np.float32]) -> NDArray[np.float32]:
    wide = row.astype(np.float64)
    norm = np.sqrt(halving_sum((wide * wide).tolist()))
    return row if abs(norm - 1.0) <= 1e-6 else (wide / norm).astype(np.float32)


def distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    products = one.astype(np.float64) * other.astype(np.float64)
    return min(max(1.0 - halving_sum(products.tolist()), 0.0), 2.0)


class Reference:
    """The expected entries of a memory, as a dict."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[str, str, NDArray[np.float32]]] = {}

    def near(
        self, query: NDArray[np.float32], k: int, admits: Admits
    ) -> list[tuple[float, str, str]]:
        """Return the k nearest entries that ``admits`` allows: distance, id, label."""
        found = [
            (distance(unit(query), vector), id, label)
            for id, (label, source, vector) in self.entries.items()
            if admits(id, label, source)
        ]
        return sorted(found, key=lambda each: (each[0], each[1].encode()))[:k]


def decide(
    near: list[tuple[float, str, str]], voting: str, sizes: Mapping[str, int], balance: float
) -> tuple[str, dict[str, float]]:
    """Return the winner and all votes; a label must get strictly more votes to take the lead.

    ``sizes`` maps labels to the numbers of entries that could be near.
    """
    weights = np.array(VOTINGS[voting](np.array([each[0] for each in near])))
    with localcontext(prec=60):
        power = -Decimal(balance)
        weights *= [float(Decimal(sizes[label]) ** power) for _, _, label in near]
    totals: dict[str, float] = {}
    champion, best = "", 0.0
    for (_, _, label), weight in zip(near, weights.tolist(), strict=True):
        totals[label] = totals.get(label, 0.0) + weight
        if totals[label] > best:
            champion, best = label, totals[label]
    return champion, totals


def blended(
    votes: Mapping[str, float],
    query: NDArray[np.float32],
    entries: Sequence[tuple[str, NDArray[np.float32]]],
    balance: float,
) -> dict[str, float]:
    """Return halves of shares of the votes, and of the softmax of centred cosines to the means."""
    labels = sorted({label for label, _ in entries})
    exact = np.rint(np.array([vector for _, vector in entries]).astype(float) * 2**15) / 2**15
    of_label = [np.array([label == each for each, _ in entries]) for label in labels]
    means = np.array([exact[rows].mean(axis=0) for rows in of_label])
    directions = means - means.mean(axis=0)
    z = np.rint(unit(query).astype(float) * 2**15) / 2**15 - means.mean(axis=0)
    lengths = np.linalg.norm(directions, axis=1) * np.linalg.norm(z)
    cosines = np.divide(directions @ z, lengths, out=np.zeros(len(labels)), where=lengths > 1e-12)
    weights = np.exp(cosines / 0.05) * [rows.sum() ** (1.0 - balance) for rows in of_label]
    shares = dict(zip(labels, weights / weights.sum(), strict=True))
    total = sum(votes.values())
    return {label: shares[label] / 2 + votes.get(label, 0.0) / total / 2 for label in labels}


class Edits:
    """Random edits of a memory and of its reference; they are counted."""

    def __init__(self, random: random.Random, pets: RemoteMemory) -> None:
        self.random, self.pets, self.reference = random, pets, Reference()
        self.rows = np.random.default_rng(random.randrange(2**32))
        self.count = self.made = 0

    def row(self) -> NDArray[np.float32]:
        """Return a new direction, or a stored one, perhaps at another length."""
        if self.reference.entries and self.random.random() < 0.3:
            row = self.random.choice(list(self.reference.entries.values()))[2]
            return row * np.float32(self.random.choice([1, 1, 1, 2, 0.3]))
        return self.rows.normal(size=DIMENSION).astype(np.float32)

    def some_ids(self, most: int) -> list[str]:
        ids = sorted(self.reference.entries)
        return self.random.sample(ids, min(len(ids), self.random.randint(1, most)))

    def edit(self) -> None:
        """Make one random edit."""
        kinds = [self.insert, self.delete, self.update, self.replace, self.purge, self.drop]
        self.random.choices(kinds, [60, 25, 20, 10, 3, 0.5])[0]()

    def insert(self) -> None:
        count = self.random.randint(1, 30)
        ids = [f"{self.random.choice('aZé0')}{self.made + number}" for number in range(count)]
        self.made += count
        self._write(ids)

    def replace(self) -> None:
        self._write(self.some_ids(5))

    def _write(self, ids: list[str]) -> None:
        if not ids:
            return
        batch, rows = pb.EntryBatch(), []
        for id in ids:
            label, source = self.random.choice(LABELS), self.random.choice(SOURCES)
            rows.append(self.row())
            batch.entries.add(id=id, label=label, metadata={"source": source})
            self.reference.entries[id] = label, source, unit(rows[-1])
        batch.vectors.CopyFrom(to_vectors(np.stack(rows)))
        self.pets.stub.InsertEntries(
            pb.InsertEntriesRequest(memory=self.pets.name, batch=batch, replace_existing=True)
        )
        self.count += len(ids)

    def delete(self) -> None:
        ids = self.some_ids(20)
        if ids:
            self.pets.stub.DeleteEntries(pb.DeleteEntriesRequest(memory=self.pets.name, ids=ids))
        for id in ids:
            del self.reference.entries[id]
        self.count += len(ids)

    def update(self) -> None:
        for id in self.some_ids(1):
            label, source = self.random.choice(LABELS), self.random.choice(SOURCES)
            entry = entry_pb2.Entry(id=id, label=label, metadata={"source": source})
            self.pets.stub.UpdateEntry(pb.UpdateEntryRequest(memory=self.pets.name, entry=entry))
            self.reference.entries[id] = label, source, self.reference.entries[id][2]
            self.count += 1

    def purge(self) -> None:
        label, source = self.random.choice(LABELS), self.random.choice(SOURCES)
        gone = [id for id, entry in self.reference.entries.items() if entry[:2] == (label, source)]
        done = self.pets.stub.PurgeEntries(
            pb.PurgeEntriesRequest(
                memory=self.pets.name,
                filter=f'label = "{label}" AND metadata.source = "{source}"',
                apply=True,
            )
        )
        assert done.purge_count == len(gone)
        for id in gone:
            del self.reference.entries[id]
        self.count += len(gone)

    def drop(self) -> None:
        self.pets.stub.DeleteMemory(pb.DeleteMemoryRequest(name=self.pets.name))
        self.reference.entries.clear()
        create(self.pets)
        self.count += 1

    # Questions

    def question(self) -> tuple[dict[str, Any], Admits]:
        """Return parameters of a query, and the function that says which entries they admit."""
        label, source = self.random.choice(LABELS), self.random.choice(SOURCES)
        excluded = self.some_ids(8) if self.random.random() < 0.5 else []
        filters: list[tuple[str, Admits]] = [
            ("", lambda *entry: True),
            (f'label = "{label}"', lambda *entry: entry[1] == label),
            (f'NOT metadata.source = "{source}"', lambda *entry: entry[2] != source),
        ]
        filter, admits = self.random.choice(filters)
        k = self.random.choice([1, 2, 5, 10, 50, 5000])
        given = {"k": k, "filter": filter, "exclude_ids": [*excluded, "unknown"]}
        return given, lambda *entry: entry[0] not in excluded and admits(*entry)

    def check(self) -> None:
        """Make a random query, and compare all of the answer."""
        query, voting = self.row(), self.random.choice(sorted(VOTINGS))
        balance = self.random.choice([0.0, 0.3, 0.5, 1.0])
        given, admits = self.question()
        near = self.reference.near(query, given["k"], admits)
        if not near:
            return
        asked = {"memory": self.pets.name, "vectors": to_vectors(query), **given}

        request = pb.ClassifyRequest(voting=voting, balance=balance, **asked)
        decision = self.pets.stub.Classify(request).decisions[0]
        found = self.pets.stub.Search(pb.SearchRequest(**asked)).results[0].neighbors

        admitted = [e[0] for id, e in self.reference.entries.items() if admits(id, *e[:2])]
        label, totals = decide(near, voting, Counter(admitted), balance)
        assert [(each.distance, each.id, each.label) for each in decision.neighbors] == near
        assert [(each.distance, each.id, each.label) for each in found] == near
        assert decision.label == label
        assert {each.label: each.score for each in decision.scores} == totals

    def check_removals(self) -> None:
        """Explain a random decision, and compare what the removal of each neighbour would do."""
        query, voting = self.row(), self.random.choice(sorted(VOTINGS))
        balance, head = self.random.choice([0.0, 0.5, 1.0]), self.random.choice(["none", "means"])
        excluded, k = self.some_ids(8), self.random.choice([1, 2, 5, 10])
        near = self.reference.near(query, k + 1, lambda *entry: entry[0] not in excluded)
        if not near:
            return
        there = {id: e for id, e in self.reference.entries.items() if id not in excluded}

        found = self.pets.stub.ExplainDecision(
            pb.ExplainDecisionRequest(
                memory=self.pets.name,
                vectors=to_vectors(query),
                k=k,
                voting=voting,
                balance=balance,
                head=head,
                exclude_ids=excluded,
                search_time=Duration(),
            )
        ).removals

        assert [each.id for each in found] == [id for _, id, _ in near[:k]]
        for each in found:
            left = [e[::2] for id, e in there.items() if id != each.id]
            if not left:
                assert (each.label, each.confidence) == ("", 0.0)
                continue
            voters = [one for one in near if one[1] != each.id][:k]
            sizes = Counter(label for label, _ in left)
            label, votes = decide(voters, voting, sizes, balance)
            if head == "none":
                share = votes[label] / math.fsum(votes.values())
                assert (each.label, each.confidence) == (label, share)
            else:
                scores = blended(votes, query, left, balance)
                assert each.confidence == pytest.approx(max(scores.values()), abs=1e-6)
                assert scores[each.label] == pytest.approx(max(scores.values()), abs=1e-6)

    def check_entries(self) -> None:
        """Check that every entry is stored, bit for bit."""
        stored = [entry_pb2.Entry.FromString(data) for data in self.pets.stored()]
        held = {e.id: (e.label, e.metadata["source"], e.vector) for e in stored}
        assert held == {
            id: (label, source, vector.tobytes())
            for id, (label, source, vector) in self.reference.entries.items()
        }
        assert list(held) == sorted(held, key=str.encode)


def create(pets: RemoteMemory) -> None:
    pets.stub.CreateMemory(pb.CreateMemoryRequest(name=pets.name, dimension=DIMENSION))


def in_batches(
    pets: RemoteMemory, queries: NDArray[np.float64], size: int, **given: Any
) -> list[bytes]:
    return [
        decision.SerializeToString(deterministic=True)
        for start in range(0, len(queries), size)
        for decision in pets.stub.Classify(
            pb.ClassifyRequest(
                memory=pets.name, vectors=to_vectors(queries[start : start + size]), **given
            )
        ).decisions
    ]


def test_after_any_edits_every_answer_is_that_of_the_reference(start: Start) -> None:
    seed = random.randrange(2**32)  # pytest-randomly's, so that a failure can be repeated
    edits = Edits(random.Random(seed), RemoteMemory(start(None, "--threads", "1"), "pets"))
    pets, queries = edits.pets, np.random.default_rng(seed).normal(size=(21, DIMENSION))
    create(pets)
    asked_at = restarted_at = restarts = 0

    while edits.count < EDITS or restarts < RESTARTS:
        edits.edit()
        if edits.count - asked_at >= EDITS_BETWEEN_QUESTIONS:
            asked_at = edits.count
            for _ in range(3):
                edits.check()
            edits.check_removals()
        if edits.count - restarted_at >= EDITS // RESTARTS and edits.reference.entries:
            restarted_at, restarts = edits.count, restarts + 1
            given = {"k": 10, "voting": "distance"}
            before = [in_batches(pets, queries, size, **given) for size in (1, 7, 21)]
            number = edits.random.choice([signal.SIGTERM, signal.SIGKILL])
            pets.server.restart("--threads", str(1 + restarts % 2), number=number)
            after = [in_batches(pets, queries, size, **given) for size in (21, 7, 1)]
            assert all(answers == before[0] for answers in before + after)
            edits.check_entries()

    assert edits.count >= EDITS


@pytest.mark.parametrize("count", [1, 2, 3, 5, 24])
def test_the_sum_of_the_reference_is_a_sum(count: int) -> None:
    terms = np.random.default_rng(count).normal(size=count)

    assert halving_sum(terms.tolist()) == pytest.approx(terms.sum(), abs=1e-12)
