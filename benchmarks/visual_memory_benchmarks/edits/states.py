"""States of a memory: edited copies, each asked the same pictures and dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

import visual_memory
from visual_memory.options import Voting
from visual_memory_benchmarks.edits.edit import ADDITION, MISLABELLED, NOTHING, REMOVAL, Edit
from visual_memory_benchmarks.edits.split import Split
from visual_memory_benchmarks.errors import MemoryChanged

Answers: TypeAlias = dict[str, list[int]]
Apply: TypeAlias = Callable[[visual_memory.Memory, Edit, Split], int]

VOTING: Voting = "rank"
SOFT = "soft-pruning"
RELIABILITY_NUMERATOR = 1.75  # of the weights of soft votes, in docs/api/classify.md
TEXTURE_K, MISLEADING_K, HARD_K, VALUE_K = 10, 10, 100, 5


@dataclass(frozen=True, slots=True)
class State:
    """The answers of one edited memory of one seed.

    ``size`` is the number of entries that the edit concerned, ``voting`` the number that vote after
    it, ``digest`` the edited memory's digest. ``answers`` has, by k and then by set, the category
    number answered to each test picture, in order.
    """

    seed: int
    edit: Edit
    size: int
    voting: int
    digest: str
    answers: Mapping[int, Answers]

    def to_json(self) -> dict[str, Any]:
        """Return all fields but ``answers``, for JSON."""
        return {
            "seed": self.seed,
            "kind": self.edit.kind,
            "dose": self.edit.dose,
            "size": self.size,
            "voting": self.voting,
            "digest": self.digest,
        }


def remembered(client: visual_memory.Client, name: str, split: Split) -> visual_memory.Memory:
    """Create the memory before any edit; a memory called ``name`` is replaced."""
    forget(client, name)
    memory = client.create_memory(name, dimension=split.memory.vectors.shape[1])
    memory.insert(
        vectors=split.memory.vectors,
        labels=split.memory.categories.tolist(),
        ids=split.memory.ids.tolist(),
    )
    return memory


def forget(client: visual_memory.Client, name: str) -> None:
    """Delete a memory, if it exists."""
    with suppress(visual_memory.NotFound):
        client.delete_memory(name)


def edited(name: str) -> str:
    """Return the name of the edited copy of a memory."""
    return f"{name}-edited"


def visit(
    client: visual_memory.Client,
    memory: visual_memory.Memory,
    edit: Edit,
    split: Split,
    ks: Sequence[int],
) -> State:
    """Edit a copy of the memory, query the copy for each k, and delete it. Raises MemoryChanged."""
    name = edited(memory.name)
    forget(client, name)
    copy = client.copy(memory.name, name)
    size = APPLY[edit.kind](copy, edit, split)
    before = copy.info()
    answers = {k: _ask(copy, edit, split, k) for k in ks}
    after = copy.info()
    forget(client, name)
    if after.digest != before.digest:
        progress = f"the state {edit.name} of seed {split.seed} is not kept, those before it are"
        raise MemoryChanged(name, before.digest, after.digest, progress)
    voting = before.count - before.pruned_count
    return State(split.seed, edit, size, voting, before.digest, answers)


def _ask(memory: visual_memory.Memory, edit: Edit, split: Split, k: int) -> Answers:
    soft = edit.kind == SOFT
    decisions = memory.classify(
        vectors=np.concatenate([tests.vectors for tests in split.tests.values()]),
        k=k,
        voting=VOTING,
        neighbors=0,
        reliability="soft" if soft else "none",
        reliability_k=int(edit.dose) if soft else None,
    )
    numbers = {category: number for number, category in enumerate(split.categories)}
    given = iter([numbers[decision.label] for decision in decisions])
    return {name: [next(given) for _ in range(len(t))] for name, t in split.tests.items()}


def _add(memory: visual_memory.Memory, edit: Edit, split: Split) -> int:
    count = int(edit.dose) * len(split.categories)
    added = split.additions[edit.kind].at(np.arange(count))
    memory.insert(vectors=added.vectors, labels=added.categories.tolist(), ids=added.ids.tolist())
    return count


def _delete(memory: visual_memory.Memory, ids: Sequence[str]) -> int:
    return memory.delete(ids) if ids else 0


def _remove_at_random(memory: visual_memory.Memory, edit: Edit, split: Split) -> int:
    return _delete(memory, split.memory.ids[split.removal[: int(edit.dose)]].tolist())


def _remove_half(memory: visual_memory.Memory, edit: Edit, split: Split) -> int:
    """Delete a random half of each of the first ``dose`` categories; return the number deleted."""
    shuffled = split.memory.at(split.removal)
    ids: list[str] = []
    for category in split.halved[: int(edit.dose)]:
        members = shuffled.ids[shuffled.categories == category].tolist()
        ids += members[: len(members) // 2]
    return _delete(memory, ids)


def _remove_highest(
    memory: visual_memory.Memory, edit: Edit, split: Split, counts: Mapping[str, int]
) -> int:
    """Delete a fraction of the entries, those of the highest ``counts``, ties in random order.

    ``counts`` is by id, 0 if absent. Return the number deleted.
    """
    ids = split.memory.ids[split.removal].tolist()
    ids.sort(key=lambda id: -counts.get(id, 0))
    return _delete(memory, ids[: round(edit.dose * len(ids))])


def _remove_texture_like(memory: visual_memory.Memory, edit: Edit, split: Split) -> int:
    found = memory.search(vectors=split.probes.vectors, k=TEXTURE_K)
    counts = Counter(
        neighbor.id
        for neighbors, texture in zip(found, split.probes.texture_categories, strict=True)
        for neighbor in neighbors
        if neighbor.label == texture
    )
    return _remove_highest(memory, edit, split, counts)


def _remove_misleading(memory: visual_memory.Memory, edit: Edit, split: Split) -> int:
    return _remove_highest(memory, edit, split, memory.misleading_counts(k=MISLEADING_K))


def _soften(memory: visual_memory.Memory, edit: Edit, split: Split) -> int:
    """Return the size of soft pruning, which changes no entry: it only weighs votes.

    The size is the loss in the effective number of votes (Kish, 1965), 0 for equal weights.
    """
    counts = memory.misleading_counts(k=int(edit.dose)).values()
    reliabilities = [RELIABILITY_NUMERATOR / (1 + count) if count else 1.0 for count in counts]
    effective = sum(reliabilities) ** 2 / sum(each**2 for each in reliabilities)
    return round(len(reliabilities) - effective)


def _prune(memory: visual_memory.Memory, **how: Any) -> int:
    return len(memory.prune(apply=True, **how).ids)


def _prune_hard(memory: visual_memory.Memory, edit: Edit, split: Split) -> int:
    return _prune(memory, method="hard", k=HARD_K, threshold=int(edit.dose))


def _prune_by_value(memory: visual_memory.Memory, edit: Edit, split: Split) -> int:
    return _prune(memory, method="value", fraction=edit.dose, value_k=VALUE_K)


def _prune_by_prototype(
    memory: visual_memory.Memory, edit: Edit, split: Split, *, keep: str
) -> int:
    """Prune by distance to the prototypes of as many clusters as categories, without labels.

    ``keep`` is easy or hard, as in ``Memory.prune``. Return the number of entries pruned.
    """
    clusters = {"clusters": len(split.categories), "seed": split.seed, "keep": keep}
    return _prune(memory, method="prototype", fraction=edit.dose, **clusters)


APPLY: Mapping[str, Apply] = MappingProxyType(
    {
        NOTHING.kind: lambda memory, edit, split: 0,
        **dict.fromkeys((ADDITION, MISLABELLED, "silhouettes", "edges", "cue-conflict"), _add),
        **dict.fromkeys(("low-pass", "phase-scrambling"), _add),
        REMOVAL: _remove_at_random,
        "hard-pruning": _prune_hard,
        SOFT: _soften,
        "value-pruning": _prune_by_value,
        "prototype-keep-hard": partial(_prune_by_prototype, keep="hard"),
        "prototype-keep-easy": partial(_prune_by_prototype, keep="easy"),
        "texture-like": _remove_texture_like,
        "misleading": _remove_misleading,
        "halving": _remove_half,
    }
)
