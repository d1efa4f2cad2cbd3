"""Without an entry a query is decided as by a memory that never knew it, by votes and by heads."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index import NUMBERS, VOTINGS, Decision, Neighbors, Rule, unit_rows
from visual_memory_index.curation.removal import REMOVED_MAX, HeadedCase, VotedCase, decide
from visual_memory_index.heads.head import fit
from visual_memory_index.heads.statistics import Statistics
from visual_memory_index.rows.distances import exact_distances

SECONDS = 60.0


class Crowd(NamedTuple):
    """Entries by distance to a query (1, d)."""

    query: NDArray[np.float32]
    vectors: NDArray[np.float32]
    labels: list[str]

    @property
    def ranking(self) -> Neighbors:
        ids = np.array([[f"{at}" for at in range(len(self.labels))]], object)
        labels = np.array([self.labels], object)
        return Neighbors(ids, labels, exact_distances(self.query[0], self.vectors)[np.newaxis])

    def without(self, *gone: int) -> Crowd:
        left = [at for at in range(len(self.labels)) if at not in gone]
        return Crowd(self.query, self.vectors[left], [self.labels[at] for at in left])

    def statistics(self) -> Statistics:
        statistics = Statistics(self.vectors.shape[1], moment=True)
        statistics.add(self.labels, self.vectors)
        return statistics

    def decided(self, rule: Rule) -> Decision:
        """Decide by a head that is fitted to these entries alone."""
        scores = None
        if rule.has_head:
            scores = fit(self.statistics(), rule.fitted_ridge).compare(self.query)
        return decide(self.ranking, rule, scores)

    def case(self, rule: Rule, known: int = 4096) -> VotedCase | HeadedCase:
        if not rule.has_head:
            return VotedCase(rule, self.ranking)
        statistics = self.statistics()
        head = fit(statistics, rule.fitted_ridge)
        vectors = self.vectors[:known]
        return HeadedCase(rule, self.query, self.ranking, head, statistics, vectors)


def crowd(seed: int, count: int, labels: str, dimension: int = 5) -> Crowd:
    rng = np.random.default_rng(seed)
    rows = unit_rows(rng.normal(size=(count, dimension)).astype(np.float32))
    query = unit_rows(rng.normal(size=(1, dimension)).astype(np.float32))
    order = np.argsort(exact_distances(query[0], rows), kind="stable")
    return Crowd(query, rows[order], rng.choice([*labels], count).tolist())


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    return Rule(
        k=draw(st.integers(1, 9)),
        voting=draw(st.sampled_from(sorted(VOTINGS))),
        balance=draw(st.sampled_from([0.0, 0.5, 1.0])),
        head=draw(st.sampled_from(["none", "means", "discriminants"])),
        ridge=draw(st.sampled_from([0.3, 1.0])),
        head_temperature=draw(st.sampled_from([0.05, 0.5])),
        blend=draw(st.sampled_from([0.0, 0.3, 1.0])),
    ).counted()


@given(st.integers(0, 10_000), st.integers(1, 12), rules())
def test_a_removal_is_the_decision_of_entries_that_never_were(
    seed: int, count: int, rule: Rule
) -> None:
    entries = crowd(seed, count, "abc")

    found = entries.case(rule).removals

    assert [each.id for each in found] == [f"{at}" for at in range(min(count, rule.k))]
    for at, each in enumerate(found):
        if count == 1:
            assert (each.label, each.confidence) == ("", 0.0)
            continue
        expected = entries.without(at).decided(rule)
        if not rule.has_head:
            assert (each.label, each.confidence) == (expected.label, expected.confidence)
            continue
        assert each.confidence == pytest.approx(expected.confidence, abs=1e-5)
        if each.label != expected.label:  # a tie up to the rounding errors of the downdate
            assert expected.scores[each.label] == pytest.approx(expected.confidence, abs=1e-5)


@given(st.integers(0, 10_000), st.integers(1, 12), rules())
def test_a_flip_changes_the_label_and_a_proven_one_is_a_single_neighbour(
    seed: int, count: int, rule: Rule
) -> None:
    assume(rule.has_head)
    entries = crowd(seed, count, "abc")
    before = entries.decided(rule).label
    case = entries.case(rule)

    flip = case.flip(seconds=SECONDS)

    assert (flip is None) == (set(entries.labels) == {before})
    if flip is None:
        return
    without = entries.without(*flip.ranks).decided(rule)
    assert flip.label != before
    assert without.scores[flip.label] == pytest.approx(without.confidence, abs=1e-5)
    singles = [at for at, each in enumerate(case.removals) if each.label != before]
    assert flip.proven_minimal == bool(singles)
    if singles:
        assert flip.ranks == (singles[0],)
    else:
        own = [at for at, label in enumerate(entries.labels) if label == before]
        assert list(flip.ranks) == own[: len(flip.ranks)]
        fewer = flip.ranks[:-1]
        assert not fewer or entries.without(*fewer).decided(rule).label == before


HEAD = Rule(k=3, head="means", blend=1.0)


def two_sides() -> Crowd:
    """Return a query among 40 entries of one label, with 20 of another on the other side."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], [40, 20], axis=0)
    rows = unit_rows((centres + 0.3 * rng.normal(size=(60, 3))).astype(np.float32))
    query = np.eye(1, 3, dtype=np.float32)
    order = np.argsort(exact_distances(query[0], rows), kind="stable")
    return Crowd(query, rows[order], [*("a" * 40 + "b" * 20)])


def test_no_flip_is_found_where_the_entries_that_may_be_removed_do_not_suffice() -> None:
    entries = two_sides()
    near = entries.case(HEAD, known=10)

    flip = near.flip(seconds=SECONDS)

    assert {each.label for each in near.removals} == {near.decision.label} == {"a"}
    assert flip is not None
    assert (flip.ranks, flip.label, flip.proven_minimal) == ((), "", False)
    far = entries.case(HEAD).flip(seconds=SECONDS)
    assert far is not None
    assert 10 < len(far.ranks) <= 40


def test_the_shorter_the_time_the_more_entries_a_flip_has() -> None:
    entries = two_sides()
    rule = replace(HEAD, blend=0.0)
    before = entries.decided(rule).label
    own = tuple(at for at, label in enumerate(entries.labels) if label == before)

    none, one, all = (
        entries.case(rule).flip(seconds=seconds, clock=itertools.count(0.0).__next__)
        for seconds in (1.0, 1.5, SECONDS)
    )

    assert none is not None
    assert (none.ranks, none.label, none.proven_minimal) == ((), "", False)  # not even tried
    assert one is not None
    assert (one.ranks, one.proven_minimal) == (own, False)
    assert all is not None
    assert len(all.ranks) < len(own)
    assert one.label == entries.without(*own).decided(rule).label == all.label


def test_downdates_that_mislead_take_no_more_time_than_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case, tried = two_sides().case(HEAD), list[int]()
    assert isinstance(case, HeadedCase)
    misled = [replace(each, label="b") for each in case.removals]
    monkeypatch.setitem(vars(case), "removals", misled)
    fit_without = HeadedCase.winner_without

    def counted(case: HeadedCase, ranks: tuple[int, ...]) -> str:
        tried.extend(ranks)
        return fit_without(case, ranks)

    monkeypatch.setattr(HeadedCase, "winner_without", counted)
    flip = case.flip(seconds=1.5, clock=itertools.count(0.0).__next__)

    assert flip is not None
    assert (flip.ranks, flip.label, flip.proven_minimal, tried) == ((), "", False, [0, 1])


def test_a_single_entry_that_flips_a_head_is_named() -> None:
    """One entry makes all of the mean of its label, which is nearest."""
    rows = unit_rows(np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0.1], [0, 0.1, 1]], np.float32))
    entries = Crowd(rows[:1], rows, ["a", "b", "b", "c"])

    flip = entries.case(replace(HEAD, k=1)).flip(seconds=0.0)

    assert flip is not None
    assert (flip.ranks, flip.proven_minimal) == ((0,), True)
    assert NUMBERS["blend"].most == HEAD.blend


def test_with_a_head_the_removal_of_the_nearest_alone_is_told() -> None:
    entries = crowd(3, REMOVED_MAX + 40, "ab")
    rule = Rule(k=REMOVED_MAX + 20, head="means")

    headed, voted = entries.case(rule).removals, entries.case(replace(rule, head="none")).removals

    assert [each.id for each in headed] == [f"{at}" for at in range(REMOVED_MAX)]
    assert len(voted) == REMOVED_MAX + 20
