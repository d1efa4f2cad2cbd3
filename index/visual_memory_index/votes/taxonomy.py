"""A forest over the labels: votes that disagree about a leaf may agree about its parent.

Python orders strings by their UTF-8 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from visual_memory_index.errors import BadNode, Cycle, TooDeep, TwoParents

NAME_BYTES_MAX = 256
DEPTH_MAX = 100  # of a new taxonomy: the work of a decision grows with it


@dataclass(frozen=True, slots=True)
class Node:
    """A label or an ancestor of one, its depth below the root, and its share of all votes."""

    name: str
    depth: int
    share: float


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The parent of every node that has one, by child in byte order. Made by ``grow``.

    A label that no edge names is a root of its own, so any label has a place. Roots have depth 0.
    """

    parents: Mapping[str, str]

    def edges(self) -> list[list[str]]:
        """Return [child, parent] pairs, in byte order of the children, as ``grow`` reads them."""
        return [[child, parent] for child, parent in self.parents.items()]

    def path(self, label: str) -> list[str]:
        """Return the nodes from the root down to ``label``."""
        path = [label]
        while parent := self.parents.get(path[-1]):
            path.append(parent)
        return path[::-1]

    def depth(self, label: str) -> int:
        """Count the ancestors of ``label``."""
        return len(self.path(label)) - 1

    def check_depths(self) -> None:
        """Raise TooDeep for the first node in byte order that has more than DEPTH_MAX above it."""
        for child in self.parents:
            if self.depth(child) > DEPTH_MAX:
                raise TooDeep(child, DEPTH_MAX)

    def orphans(self, labels: Iterable[str]) -> list[str]:
        """Return the ``labels`` that no edge names, in byte order: allowed, perhaps forgotten."""
        named = {*self.parents, *self.parents.values()}
        return sorted(set(labels) - named)

    def unused(self, labels: Iterable[str]) -> list[str]:
        """Return leaves that are not in ``labels``, in byte order: without votes, perhaps typos."""
        return sorted(set(self.parents) - {*self.parents.values(), *labels})


def grow(edges: Iterable[Iterable[str]]) -> Taxonomy:
    """Make a taxonomy from pairs of child and parent; repeated pairs count once.

    Raises BadNode, TwoParents, Cycle.
    """
    parents = dict[str, str]()
    for child, parent in edges:
        for name in (child, parent):
            size = len(name.encode())
            if not 1 <= size <= NAME_BYTES_MAX or "\0" in name:
                raise BadNode(name, size, NAME_BYTES_MAX)
        if parents.setdefault(child, parent) != parent:
            raise TwoParents(child, (parents[child], parent))
    ordered = {child: parents[child] for child in sorted(parents)}
    _check_cycles(ordered)
    return Taxonomy(ordered)


def node_votes(taxonomy: Taxonomy, votes: Mapping[str, float]) -> dict[str, float]:
    """Sum the votes of every node and of all nodes below it, for the nodes that have any votes.

    ``votes`` are a decision's scores, the winner first; nodes come in the order of their first
    vote, a label's root before the label. Sums do not depend on the order of the votes.
    """
    parts = dict[str, list[float]]()
    for label, vote in votes.items():
        for node in taxonomy.path(label):
            parts.setdefault(node, []).append(vote)
    return {node: math.fsum(each) for node, each in parts.items()}


def at_depth(
    taxonomy: Taxonomy, votes: Mapping[str, float], depth: int, *, total: float | None = None
) -> Node:
    """Return the node with most votes, if every label counts for its ancestor at ``depth`` ≥ 0.

    A label above that depth counts for itself. Of nodes with equal votes, the node that comes first
    in ``votes`` is returned, the winner before all others. Its share is of ``total``, the sum of
    the votes unless it is given.
    """
    parts = dict[str, list[float]]()
    for label, vote in votes.items():
        parts.setdefault(taxonomy.path(label)[: depth + 1][-1], []).append(vote)
    totals = {node: math.fsum(each) for node, each in parts.items()}
    name = max(totals, key=lambda node: totals[node])
    return Node(name, taxonomy.depth(name), totals[name] / (total or math.fsum(votes.values())))


def deepest(
    taxonomy: Taxonomy,
    votes: Mapping[str, float],
    *,
    min_confidence: float,
    total: float | None = None,
) -> Node | None:
    """Return the deepest node whose share of the votes is at least ``min_confidence``, or None.

    Shares are of ``total``, the sum of the votes unless it is given.
    Of equally deep nodes, the one with the larger share is returned, then the one that comes first
    in ``votes``. If ``min_confidence`` is above one half, all such nodes are on one path. The
    winner may not be on it: if three dogs have 0.2 each and a cat 0.4, dogs have the most.
    """
    total = total or math.fsum(votes.values())
    depths = {name: depth for label in votes for depth, name in enumerate(taxonomy.path(label))}
    sure = [
        Node(name, depths[name], node_total / total)
        for name, node_total in node_votes(taxonomy, votes).items()
        if node_total / total >= min_confidence
    ]
    return max(sure, key=lambda node: (node.depth, node.share), default=None)


def _check_cycles(parents: Mapping[str, str]) -> None:
    """Raise Cycle if there is one, beginning at the first of its nodes in byte order."""
    safe = set[str]()
    for start in parents:
        above, node = dict.fromkeys([start]), start
        while node not in safe and node in parents:
            node = parents[node]
            if node in above:
                walk = list(above)
                ring = walk[walk.index(node) :]
                first = ring.index(min(ring))
                raise Cycle((*ring[first:], *ring[:first], ring[first]))
            above[node] = None
        safe.update(above)
