"""The pictures that a memory holds, so that no picture votes on itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import visual_memory
from visual_memory_benchmarks.stimuli.stimuli import Stimulus


@dataclass(frozen=True, slots=True)
class Remembered:
    """The labels and ids of a memory's entries, and ids by the SHA-256 of their pictures."""

    labels: frozenset[str]
    ids: frozenset[str]
    by_content: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, memory: visual_memory.Memory) -> Remembered:
        """List all entries of a memory."""
        labels, ids, by_content = set[str](), set[str](), defaultdict[str, list[str]](list)
        for entry in memory.entries():
            labels.add(entry.label)
            ids.add(entry.id)
            by_content[entry.content_sha256].append(entry.id)
        contents = {content: tuple(each) for content, each in by_content.items()}
        return cls(frozenset(labels), frozenset(ids), contents)

    def same(self, stimulus: Stimulus, *, own: bool = False) -> tuple[str, ...]:
        """Return the ids of the entries with the same picture.

        If ``own``, the entry whose id is the picture's path is one of these, whatever its bytes.
        """
        found = self.by_content.get(stimulus.sha256, ())
        named = own and stimulus.file in self.ids and stimulus.file not in found
        return (*found, stimulus.file) if named else found
