"""A decision rule: every parameter by which the nearest entries and a head decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from visual_memory_index.records.neighbors import HeadScores, Neighbors
from visual_memory_index.votes.shares import blended, head_shares
from visual_memory_index.votes.voting import (
    SOFTMAX_TEMPERATURE,
    VOTINGS,
    Decision,
    Ranking,
    Weights,
    decide,
    decide_reranked,
    factors,
    softmax,
)

HEADS = ("none", "means", "discriminants")


class Number(NamedTuple):
    """The range of a parameter; it counts if the field ``of`` of its rule is one of ``values``."""

    least: float
    most: float
    of: str = ""
    values: tuple[str, ...] = ()


NUMBERS: Mapping[str, Number] = MappingProxyType(
    {
        "temperature": Number(0.005, 10.0, "voting", (softmax.__name__,)),
        "balance": Number(0.0, 1.0),
        "ridge": Number(1e-4, 1e6, "head", HEADS[2:]),
        "head_temperature": Number(0.005, 10.0, "head", HEADS[1:]),
        "blend": Number(0.0, 1.0, "head", HEADS[1:]),
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """How a query is decided: by the votes of its ``k`` nearest entries, a ``head``, or both.

    ``temperature`` is that of softmax ``voting``, and counts for no other. Each vote is multiplied
    by the number of entries of its label to the power of −``balance``, from 0 to 1. The head is one
    of HEADS: class means, or linear discriminants with this ``ridge``, see ``heads.head.fit``. Its
    scores become shares at ``head_temperature``, which make up ``blend`` of a label's score, the
    votes the rest.
    """

    k: int = 50
    voting: str = "rank"
    temperature: float = SOFTMAX_TEMPERATURE
    balance: float = 0.0
    head: str = "none"
    ridge: float = 1.0
    head_temperature: float = 0.05  # .03 to .1 measured alike
    blend: float = 0.5

    @property
    def has_head(self) -> bool:
        """True if a head decides, alone or with the votes."""
        return self.head != "none"

    @property
    def fitted_ridge(self) -> float | None:
        """The ridge to fit the head with, None for class means."""
        return self.ridge if self.head == "discriminants" else None

    def weigh(self, distances: Weights) -> Weights:
        """Return the weights of neighbours at ``distances`` (…, k), ascending, before balance."""
        if self.voting == softmax.__name__:
            return softmax(distances, self.temperature)
        return VOTINGS[self.voting](distances)

    def weights(self, neighbors: Neighbors) -> Weights:
        """Return the votes (n, k) of ``neighbors``, as ``decide`` counts them."""
        return self.weigh(neighbors.distances) * factors(neighbors, self.balance)

    def decide(self, neighbors: Neighbors) -> list[Decision]:
        """Return one decision for each row of ``neighbors`` (n, k), k ≥ 1.

        The neighbours have the scores of the head, if there is one.
        """
        return self.with_head(decide(neighbors, self.weigh, self.balance), neighbors.head)

    def decide_reranked(self, neighbors: Neighbors, at: int, ranking: Ranking) -> Decision:
        """Return the decision for row ``at`` of ``neighbors`` with the votes of a ``ranking``.

        See ``voting.decide_reranked``.
        """
        voted = decide_reranked(neighbors, at, self.weigh, ranking, self.balance)
        head = neighbors.head
        if head is not None:
            head = head.row(at)
        return self.with_head([voted], head)[0]

    def with_head(self, decisions: list[Decision], head: HeadScores | None) -> list[Decision]:
        """Return decisions by votes as they are with the scores of ``head``, a row for each.

        Without a head in this rule they stay as they are.
        """
        if not self.has_head:
            return decisions
        assert head is not None
        shares = head_shares(head, self.head_temperature, self.balance)
        return [
            blended(decision, head.labels, row, self.blend)
            for decision, row in zip(decisions, shares, strict=True)
        ]

    def counts(self, name: str) -> bool:
        """Return True if the parameter ``name`` makes a difference with this voting and head."""
        number = NUMBERS.get(name)
        return number is None or not number.of or getattr(self, number.of) in number.values

    def counted(self) -> Rule:
        """Return the rule of the same decisions whose other parameters are those by default."""
        unused: dict[str, Any] = {
            name: default
            for name, default in DEFAULTS.items()
            if getattr(self, name) != default and not self.counts(name)
        }
        return replace(self, **unused) if unused else self

    def parameters(self) -> dict[str, Any]:
        """Return by name every parameter that makes a difference with this voting and head."""
        return {name: getattr(self, name) for name in DEFAULTS if self.counts(name)}


DEFAULTS = MappingProxyType({each.name: each.default for each in fields(Rule)})
