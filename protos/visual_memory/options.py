"""Options of calls that many calls share: the rule of a decision, and what a decision says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, get_args

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Voting: TypeAlias = Literal["plurality", "distance", "softmax", "rank"]
Head: TypeAlias = Literal["none", "means", "discriminants"]
Reliability: TypeAlias = Literal["none", "soft"]
CoverageBy: TypeAlias = Literal["all", "label"]
Conformal: TypeAlias = Literal["lac", "randomized_aps"]
PruneMethod: TypeAlias = Literal["hard", "prototype", "value", "random", "ids"]
Keep: TypeAlias = Literal["easy", "hard"]
Measure: TypeAlias = Literal["macro_accuracy", "accuracy", "log_loss"]

VOTINGS: tuple[Voting, ...] = get_args(Voting)
HEADS: tuple[Head, ...] = get_args(Head)


class VoteOptions(TypedDict, total=False):
    """How the ``k`` nearest entries vote; what is None or not given is of the default rule.

    ``voting`` weights the votes: plurality, distance, softmax (at a ``temperature``) or rank. Each
    vote is multiplied by the number of entries of its label to the power of −``balance``, from 0 to
    1, so that rare labels are heard. The default rule is the memory's, see ``tune``; where there is
    none, it is k 50, rank, temperature 0.07, balance 0.
    """

    k: int | None
    voting: Voting | None
    temperature: float | None
    balance: float | None


class RuleOptions(VoteOptions, total=False):
    """A rule of decisions: the votes and a head; ``dataclasses.asdict`` of a ``Rule`` has them.

    A ``head`` (none, means, or discriminants with a ``ridge``) is a classifier in closed form,
    fitted to the entries: class means or linear discriminants. Its scores become shares at a
    ``head_temperature``, which make up ``blend`` of each score, the votes the rest. Where the
    memory has no default rule, it is head none, ridge 1, head_temperature 0.05 and blend 0.5.
    """

    head: Head | None
    ridge: float | None
    head_temperature: float | None
    blend: float | None


class DecisionOptions(RuleOptions, total=False):
    """All that a decision may be asked for.

    Only entries that match ``filter`` and are not in ``exclude_ids`` vote; a decision carries the
    first ``neighbors``, or all k. With ``reliability="soft"`` the votes of misleading entries,
    among the ``reliability_k`` (10 if None) nearest of entries with another label, count less.

    With ``calibrated`` a decision says how often such decisions are right, and is ``rejected`` if
    the query is unlike all entries; with a ``coverage`` in (0, 1) it holds a set of labels, by the
    rule ``conformal`` (lac if None, or randomized_aps), which ``allow_empty`` allows to be empty.
    It covers that share of all queries, or with ``coverage_by="label"`` of each label's. These
    three are refused without a coverage, ``reliability_k`` without soft votes.

    With ``min_confidence`` a decision holds the deepest node of the taxonomy with that share of the
    votes, with ``level`` instead the node with most votes at this depth.

    A ``reranker`` of the server compares the pictures of the query and its k neighbours and
    reweights them, within ``rerank_seconds`` (10) for each query; None means the memory's,
    ``"none"`` none. Queries of a domain of their own, such as drawings asked of photographs, may be
    centred by its ``domain_mean`` (d,), the mean of the unit vectors of some of its pictures.
    """

    filter: str | None
    exclude_ids: Iterable[str]
    neighbors: int | None
    reliability: Reliability
    reliability_k: int | None
    calibrated: bool
    coverage: float | None
    coverage_by: CoverageBy | None
    conformal: Conformal | None
    allow_empty: bool
    min_confidence: float | None
    level: int | None
    reranker: str | None
    rerank_seconds: float
    domain_mean: ArrayLike | None
