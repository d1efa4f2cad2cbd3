"""Galleries: labelled pictures as vectors, to store or to query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Texts: TypeAlias = NDArray[np.str_]
Vectors: TypeAlias = NDArray[np.float32]
Numbers: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """n pictures: ids and labels (n,), vectors (n, d)."""

    ids: Texts
    labels: Texts
    vectors: Vectors

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, chosen: Numbers | Mask) -> Gallery:
        """Select pictures by their numbers or a mask."""
        return Gallery(self.ids[chosen], self.labels[chosen], self.vectors[chosen])

    def labelled(self, labels: Texts) -> Gallery:
        """Return the same pictures with other labels."""
        return replace(self, labels=labels)

    def parts(self, shares: Sequence[float], rng: np.random.Generator) -> list[Gallery]:
        """Split at random into disjoint parts, each with about its share of every label."""
        return [self.at(numbers) for numbers in parts(self.labels, shares, rng)]


def joined(galleries: Sequence[Gallery]) -> Gallery:
    """Concatenate galleries."""
    return Gallery(
        np.concatenate([each.ids for each in galleries]),
        np.concatenate([each.labels for each in galleries]),
        np.concatenate([each.vectors for each in galleries]),
    )


def parts(groups: Texts, shares: Sequence[float], rng: np.random.Generator) -> list[Numbers]:
    """Return picture numbers split at random by ``shares`` within each group; each part ascends."""
    found: list[list[Numbers]] = [[] for _ in shares]
    ends = np.cumsum(shares)
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        cuts = np.round(ends * len(members)).astype(int)
        for part, chosen in zip(found, np.split(members, cuts), strict=False):
            part.append(chosen)
    return [np.sort(np.concatenate(part)) for part in found]


def one_by_one(groups: Texts, rng: np.random.Generator) -> Numbers:
    """Rank the pictures of each group at random, from 0; return the rank of each picture: (n,).

    Ranks below x select x pictures of each group.
    """
    places = np.empty(len(groups), np.intp)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        places[members] = rng.permutation(len(members))
    return places
