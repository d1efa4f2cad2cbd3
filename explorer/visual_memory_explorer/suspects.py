"""Suspects: entries that look mislabelled, each with the entries that speak for either label."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from visual_memory import Neighbor, NotFound
from visual_memory.aio import Memory
from visual_memory.types import Assessment, Conflict, Entry, Suspect

PAGE = 30
CONFLICTS_SHOWN = 30
NEAR = 50
NEAR_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Case:
    """A suspect with the entries nearest to it that have the proposed label, or its own."""

    suspect: Suspect
    for_proposed: Sequence[Neighbor]
    for_own: Sequence[Neighbor]


@dataclass(frozen=True, slots=True)
class Suspects:
    """What is to be judged of one page: ``cases``, and pairs of alike entries that conflict.

    What was relabelled, pruned or deleted since the assessment is settled, and left out.
    """

    cases: list[Case]
    conflicts: list[Conflict]
    settled: int


async def find(memory: Memory, found: Assessment, start: int) -> Suspects:
    """Return the suspects of an assessment from number ``start`` on, the first page's conflicts."""
    page = found.suspects[start : start + PAGE]
    pairs = [] if start else found.conflicts[:CONFLICTS_SHOWN]
    ids = [*(each.id for each in page), *(id for pair in pairs for id in pair.ids)]
    entries = await fetch(memory, ids)
    open_ = [each for each in page if is_open(entries.get(each.id), each.label)]
    conflicts = [
        pair
        for pair in pairs
        if all(is_open(entries.get(id), label) for id, label in zip(*both(pair), strict=True))
    ]
    cases = await to_cases(memory, open_, entries)
    return Suspects(cases, conflicts, len(page) - len(cases) + len(pairs) - len(conflicts))


def both(pair: Conflict) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the ids and the labels of a conflict."""
    return pair.ids, pair.labels


def is_open(entry: Entry | None, label: str) -> bool:
    """Return True if an entry is as it was assessed: stored, with its label and its vote."""
    return entry is not None and entry.label == label and not entry.pruned_by


async def fetch(memory: Memory, ids: Iterable[str]) -> dict[str, Entry]:
    """Get entries with their vectors by id, leaving out those that are gone."""

    async def get(id: str) -> Entry | None:
        try:
            return await memory.get(id, include_vector=True)
        except NotFound:
            return None

    found = await asyncio.gather(*map(get, dict.fromkeys(ids)))
    return {each.id: each for each in found if each is not None}


async def to_cases(
    memory: Memory, suspects: Sequence[Suspect], entries: dict[str, Entry]
) -> list[Case]:
    """Search the memory for the entries nearest to each suspect."""
    if not suspects:
        return []
    vectors = np.stack([np.asarray(entries[each.id].vector) for each in suspects])
    cases = []
    for suspect, near in zip(suspects, await memory.search(vectors=vectors, k=NEAR), strict=True):
        others = [each for each in near if each.id != suspect.id]
        proposed, own = (
            [each for each in others if each.label == label][:NEAR_SHOWN]
            for label in (suspect.proposed, suspect.label)
        )
        cases.append(Case(suspect, proposed, own))
    return cases
