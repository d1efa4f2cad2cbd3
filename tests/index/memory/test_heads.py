"""Heads of a memory: those of its present entries, to the bit, whatever happened before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index import Entry, Filter, Memory, Query, parse, unit_rows
from visual_memory_index.errors import HeadTooLarge, RidgeTooSmall
from visual_memory_index.heads.head import METRIC_MAX, NUMBERS_MAX, check_size, fit
from visual_memory_index.heads.statistics import Statistics
from visual_memory_index.ram import counted_rows
from visual_memory_index.ram.counted_rows import CountedRows
from visual_memory_index.ram.heads import Heads
from visual_memory_index.ram.ranked import HeadWish
from visual_memory_index.records.neighbors import HeadScores
from visual_memory_index.store.store import new_identity

ROWS = unit_rows(np.random.default_rng(0).normal(size=(400, 12)).astype(np.float32))
LABELS = [f"label {number % 5}" for number in range(400)]
IDS = [f"{number:03}" for number in range(400)]
QUERIES = ROWS[:7]
RIDGES = (None, 1.0)
SECONDS = 60
HEADS = ((False, None), (True, None), (True, 1.0))


def scores(memory: Memory, ridge: float | None, **how: object) -> HeadScores:
    query = Query(QUERIES, 3, head=True, ridge=ridge, **how)  # type: ignore[arg-type]
    (found,) = memory.nearest([query])
    head = found.scored().head
    assert head is not None
    return head


def expected(
    at: list[int], ridge: float | None, relabelled: dict[int, str] | None = None
) -> HeadScores:
    statistics = Statistics(12, moment=True)
    statistics.add([(relabelled or {}).get(n, LABELS[n]) for n in at], ROWS[at])
    head = fit(statistics, ridge)
    return head.compare(QUERIES)


def assert_equal(one: HeadScores, other: HeadScores) -> None:
    assert one.labels == other.labels
    assert one.counts.tolist() == other.counts.tolist()
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.distances, other.distances)


def insert(memory: Memory, at: list[int], *, replace: bool = False) -> None:
    entries = [Entry(IDS[number], LABELS[number]) for number in at]
    memory.insert(entries, ROWS[at], replace_existing=replace)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    with closing(Memory.create(tmp_path / "m.sqlite", new_identity("m", 12, None))) as memory:
        insert(memory, list(range(100)))
        yield memory


@pytest.mark.parametrize("ridge", RIDGES)
def test_after_each_edit_they_are_those_of_the_entries_that_vote(
    memory: Memory, ridge: float | None
) -> None:
    assert_equal(scores(memory, ridge), expected(list(range(100)), ridge))

    insert(memory, list(range(100, 200)))
    assert_equal(scores(memory, ridge), expected(list(range(200)), ridge))
    memory.delete(IDS[:50])
    assert_equal(scores(memory, ridge), expected(list(range(50, 200)), ridge))
    memory.update(IDS[60], label="new")
    assert_equal(scores(memory, ridge), expected(list(range(50, 200)), ridge, {60: "new"}))
    name = memory.operations.begin("prune").operation.name
    memory.operations.prune(IDS[60:70], operation=name, result=str)
    left = [*range(50, 60), *range(70, 200)]
    assert_equal(scores(memory, ridge), expected(left, ridge))
    memory.operations.undo(name)
    assert_equal(scores(memory, ridge), expected(list(range(50, 200)), ridge, {60: "new"}))
    erasure = memory.unlearning.begin(IDS[50:80], allow_missing=False).operation.name
    memory.unlearning.erase(erasure, settings=(), draft=lambda facts: "{}")
    assert_equal(scores(memory, ridge), expected(list(range(80, 200)), ridge))
    insert(memory, list(range(190, 220)), replace=True)
    assert_equal(scores(memory, ridge), expected(list(range(80, 220)), ridge))


@pytest.mark.parametrize("ridge", RIDGES)
def test_a_query_that_admits_some_entries_has_a_head_of_these(
    memory: Memory, ridge: float | None
) -> None:
    insert(memory, list(range(100, 400)))
    some = parse('label = "label 1" OR label = "label 4"')
    admitted = [at for at in range(400) if at % 5 in (1, 4)]

    found = scores(memory, ridge, filter=some)
    without = scores(memory, ridge, exclude_ids=[*IDS[::2], "unknown"])
    both = scores(memory, ridge, filter=some, exclude_ids=IDS[:100])

    assert_equal(found, expected(admitted, ridge))
    assert_equal(without, expected(list(range(1, 400, 2)), ridge))
    assert_equal(both, expected([at for at in admitted if at >= 100], ridge))


def test_queries_with_heads_and_without_are_answered_together(memory: Memory) -> None:
    plain, means, ridge = (
        each.scored()
        for each in memory.nearest(
            [
                Query(QUERIES, 3),
                Query(QUERIES, 3, head=True),
                Query(QUERIES[:1], 5, head=True, ridge=2.0),
            ]
        )
    )

    assert plain.head is None
    assert means.head is not None
    assert_equal(means.head, expected(list(range(100)), None))
    assert ridge.head is not None
    everyone = expected(list(range(100)), 2.0)
    np.testing.assert_array_equal(ridge.head.scores, everyone.scores[:1])


def test_after_a_restart_they_are_the_same(memory: Memory) -> None:
    before = scores(memory, 1.0)
    memory.close()

    with closing(Memory.open(memory.path)) as again:
        assert_equal(scores(again, 1.0), before)


def test_while_entries_are_counted_others_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visual_memory_index.heads.statistics.COUNTED_PRODUCTS", 3 * 12 * 12)
    with closing(Memory.create(tmp_path / "m.sqlite", new_identity("m", 12, None))) as memory:
        insert(memory, list(range(200)))
        kept = list(range(0, 200, 2))

        def write() -> None:
            for at in range(1, 200, 2):
                memory.delete([IDS[at]])

        writer = threading.Thread(target=write)
        writer.start()
        vectors: list[NDArray[np.float64]] = []
        while writer.is_alive():
            vectors.append(scores(memory, 1.0).scores)
        writer.join()

        assert_equal(scores(memory, 1.0), expected(kept, 1.0))


def test_while_entries_are_counted_readers_that_wait_come_between_two_parts(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visual_memory_index.heads.statistics.COUNTED_PRODUCTS", 1)
    engine, came = memory._engine, threading.Event()
    go_on, parts = CountedRows.go_on, [0]

    def read() -> None:
        with engine.searching_ram():
            came.set()

    reader = threading.Thread(target=read)

    def watched(counted: CountedRows) -> bool:
        if not parts[0]:
            reader.start()
            while not engine.lock._readers_waiting:
                time.sleep(0.001)
        assert came.is_set() == bool(parts[0])
        parts[0] += 1
        return go_on(counted)

    monkeypatch.setattr(CountedRows, "go_on", watched)
    memory.statistics.keep([1.0])
    reader.join()

    assert parts[0] == memory.count


def without_moment(dimension: int, *, moment: bool) -> Statistics:
    """Make statistics, but none that take time and RAM by the square of the dimension."""
    assert not moment
    return Statistics(dimension, moment=False)


def test_a_head_that_is_too_large_is_refused_to_its_query_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = new_identity("wide", METRIC_MAX + 1, None)
    with closing(Memory.create(tmp_path / "wide.sqlite", wide)) as other:
        row = np.eye(1, METRIC_MAX + 1, dtype=np.float32)
        other.insert([Entry("a", "a")], row)
        for some in (None, parse("label = a")):
            plain, means, both = other.nearest(
                [Query(row, 1, some, head=head, ridge=ridge) for head, ridge in HEADS]
            )
            assert plain.ids.tolist() == means.scored().ids.tolist() == [["a"]]
            with pytest.raises(HeadTooLarge, match="discriminants of dimension 2,048 at most"):
                both.scored()
            monkeypatch.setattr(counted_rows, "Statistics", without_moment)
        with pytest.raises(HeadTooLarge, match="here are 2,049: decide by class means"):
            other.statistics.prepare(1.0)
        other.statistics.prepare(None)

    check_size(NUMBERS_MAX // 768, 768, moment=True)
    with pytest.raises(HeadTooLarge, match=r"43,690 labels of dimension 768 at most.* 43,691"):
        check_size(NUMBERS_MAX // 768 + 1, 768, moment=False)


def test_searches_go_on_while_a_first_decision_by_head_waits_for_a_long_reader(
    memory: Memory,
) -> None:
    engine = memory._engine
    with ThreadPoolExecutor(2) as threads:
        with engine.reading_ram():  # as a snapshot or a check does
            counting = threads.submit(memory.statistics.prepare, 1.0)
            while not (engine.whole._writers_waiting or engine.lock._writers_waiting):
                time.sleep(0.001)

            (found,) = threads.submit(memory.nearest, [Query(QUERIES, 3)]).result(SECONDS)

            assert not counting.done()
        counting.result(SECONDS)
    assert len(found.ids) == len(QUERIES)


def test_a_memory_that_outgrows_heads_keeps_no_statistics(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.statistics.prepare(None)
    monkeypatch.setattr("visual_memory_index.heads.head.NUMBERS_MAX", 4 * 12)

    with pytest.raises(HeadTooLarge, match="4 labels of dimension 12 at most"):
        memory.statistics.prepare(None)

    with memory._engine.reading_ram() as ram:
        assert ram.counted.statistics is None
    some = parse('label = "label 1" OR label = "label 4"')
    assert scores(memory, None, filter=some).labels == ("label 1", "label 4")


def test_a_memory_that_outgrows_discriminants_keeps_the_statistics_of_means(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.statistics.prepare(None)
    monkeypatch.setattr("visual_memory_index.heads.head.METRIC_MAX", 11)

    with memory._engine.lock.reading(), pytest.raises(HeadTooLarge):  # beside searches
        memory.statistics.prepare(1.0)

    with memory._engine.reading_ram() as ram:
        assert ram.counted.has(moment=False)


def test_a_query_that_admits_nothing_has_no_head(memory: Memory) -> None:
    nobody = parse('label = "none"')

    plain, some, none, left_out = memory.nearest(
        [
            Query(QUERIES, 3),
            Query(QUERIES, 3, head=True),
            Query(QUERIES, 3, filter=nobody, head=True),
            Query(QUERIES, 3, exclude_ids=IDS, head=True, ridge=1.0),
        ]
    )

    assert plain.ids.shape == some.scored().ids.shape == (7, 3)
    for each in (none, left_out):
        assert each.scored().head is None
        assert each.ids.shape == (7, 0)


def test_a_large_k_counts_no_entry_anew(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.statistics.prepare(1.0)
    monkeypatch.setattr("visual_memory_index.ram.counted_rows.COPIED_MAX", 0)

    (found,) = memory.nearest([Query(QUERIES, 100_000, head=True, ridge=1.0, sizes=True)])

    head = found.scored().head
    assert head is not None
    assert_equal(head, expected(list(range(100)), 1.0))


def test_very_many_entries_of_a_filter_are_refused(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visual_memory_index.ram.counted_rows.COPIED_MAX", 20 * 12)
    label = parse('label = "label 1"')
    assert scores(memory, None, filter=label).counts.tolist() == [20.0]
    assert scores(memory, None, exclude_ids=IDS[:20]).counts.sum() == 80

    for how in ({"filter": parse('NOT label = "label 1"')}, {"exclude_ids": IDS[:21]}):
        with pytest.raises(HeadTooLarge, match="20 entries of dimension 12 at most by a filter"):
            scores(memory, None, **how)


@pytest.mark.parametrize("ridge", RIDGES)
def test_a_ranking_has_its_head_and_what_that_was_fitted_to_whatever_comes_later(
    memory: Memory, ridge: float | None
) -> None:
    wish = HeadWish(ridge, 7, [IDS[3], IDS[40], "nobody"])
    found = memory.ranking(QUERIES[:1], IDS[:20], wish)
    memory.delete(IDS[10:60])
    memory.update(IDS[70], label="label 9")

    left, head = list(range(20, 100)), found.head
    assert head is not None
    ids = found.neighbors.ids[0].tolist()
    assert sorted(ids) == [IDS[at] for at in left]
    assert found.neighbors.distances[0].tolist() == sorted(found.neighbors.distances[0])
    assert_equal(head.fit().compare(QUERIES), expected(left, ridge))
    changed = head.count()
    changed.remove([LABELS[20]], ROWS[20:21])
    assert_equal(fit(changed, ridge).compare(QUERIES), expected(left[1:], ridge))
    assert_equal(fit(head.count(), ridge).compare(QUERIES), expected(left, ridge))
    np.testing.assert_array_equal(head.vectors, ROWS[[IDS.index(id) for id in ids[:7]]])
    assert head.named.keys() == {IDS[3], IDS[40]}
    np.testing.assert_array_equal(head.named[IDS[40]], ROWS[40])


def test_very_many_entries_without_which_a_head_is_to_be_fitted_are_refused(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visual_memory_index.ram.counted_rows.COPIED_MAX", 20 * 12)
    assert memory.ranking(QUERIES[:1], IDS[:9], HeadWish(None, 50, IDS[20:31])).head is not None

    with pytest.raises(HeadTooLarge, match=r"20 entries .* left out or changed .* but here are 21"):
        memory.ranking(QUERIES[:1], IDS[:9], HeadWish(None, 50, IDS[20:32]))


def test_rounding_errors_never_decide(memory: Memory) -> None:
    entries = [Entry(f"x{number}", "ab"[number % 2]) for number in range(6000)]
    memory.delete(IDS[:100])
    memory.insert(entries, np.tile(ROWS[:3], (2000, 1)))

    assert scores(memory, 1e-4).labels == ("a", "b")
    with pytest.raises(RidgeTooSmall, match="With a ridge of 1e-15 rounding errors would decide"):
        scores(memory, 1e-15)


def means(memory: Memory, **how: object) -> HeadScores | None:
    query = Query(QUERIES, 3, means=True, **how)  # type: ignore[arg-type]
    (found,) = memory.nearest([query])
    return None if found.means is None else found.means()


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("some", [parse('label = "label 1"'), None], ids=["filter", "excluded"])
def test_class_means_are_those_of_all_entries_at_the_moment_of_the_search(
    memory: Memory, some: Filter | None, ridge: float | None
) -> None:
    every = expected(list(range(100)), None)
    query = Query(QUERIES, 3, some, IDS[:1], means=True, head=True, ridge=ridge)
    (found,) = memory.nearest([query])

    memory.delete(IDS[:50])

    assert found.means is not None
    assert_equal(found.means(), every)
    rule_head = found.scored().head
    assert rule_head is not None
    left = [at for at in range(1, 100) if some is None or LABELS[at] == "label 1"]
    assert_equal(rule_head, expected(left, ridge))
    assert_equal(means(memory) or every, expected(list(range(50, 100)), None))
    memory.delete(IDS[50:100])
    assert means(memory) is None


def test_a_head_of_entries_that_are_deleted_while_it_is_fitted_is_not_kept() -> None:
    statistics, heads = Statistics(12, moment=False), Heads()
    statistics.add(["a", "b"], ROWS[:2])

    fitted = heads.fitting(None, statistics)
    heads.clear()  # as each change of the entries does
    before = fitted()
    statistics.remove(["a"], ROWS[:1])

    assert before.labels == ("a", "b")
    assert heads.fitting(None, statistics)().labels == ("b",)
    assert heads.fitting(None, statistics)().labels == ("b",)


def test_two_heads_are_kept_whatever_ridges_are_asked(memory: Memory) -> None:
    for ridge in (1.0, 2.0, 3.0, 4.0):
        scores(memory, ridge)

    with memory._engine.reading_ram() as ram:
        assert list(ram.counted.heads._kept) == [3.0, 4.0]
        assert not ram.counted.heads._copies
