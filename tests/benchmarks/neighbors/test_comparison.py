from __future__ import annotations

import pytest

from visual_memory_benchmarks.neighbors.comparison import compare, nearest_accuracy
from visual_memory_benchmarks.neighbors.neighbor_files import NeighborInfo


def info(
    ids: str, distances: tuple[float, ...], truth: int | tuple[int, ...] = 0, kinds: int = 0
) -> NeighborInfo:
    classes = tuple(kinds for _ in ids)
    return NeighborInfo("lite0", "q", truth, tuple(ids), classes, distances)


def test_equal_files_agree_in_everything() -> None:
    one = {"q": info("ab", (0.1, 0.2))}

    found = compare(one, one, depths=(1, 2, 3))

    assert found is not None
    assert (found.queries, found.same_nearest, found.same_order) == (1, 1, 1)
    assert found.overlap == {1: 1, 2: 1}
    assert (found.largest_difference, found.other_classes) == (0, 0)


def test_files_differ_by_queries_order_distances_and_classes() -> None:
    first = {
        "p": info("abc", (0.1, 0.2, 0.3)),
        "q": info("abc", (0.1, 0.2, 0.3)),
        "x": info("a", (0.1,)),
    }
    second = {"p": info("abc", (0.1, 0.2, 0.3)), "q": info("bdz", (0.1, 0.2, 0.3), kinds=1)}

    found = compare(first, second, depths=(1, 2))

    assert found is not None
    assert (found.queries, found.only_first, found.only_second) == (2, 1, 0)
    assert (found.same_nearest, found.same_order) == (0.5, 0.5)
    assert found.overlap == {1: 0.5, 2: 0.75}
    assert found.largest_difference == pytest.approx(0.1)
    assert found.other_classes == 1
    assert (found.first_accuracy, found.second_accuracy) == (1, 0.5)


def test_files_without_a_common_query_are_not_compared() -> None:
    assert compare({"p": info("a", (0.1,))}, {"q": info("a", (0.1,))}) is None


def test_files_without_a_common_neighbor_have_no_difference() -> None:
    found = compare({"q": info("a", (0.1,))}, {"q": info("b", (0.1,))})

    assert found is not None
    assert found.largest_difference is None


def test_any_class_of_several_is_right_and_a_query_without_one_is_not_counted() -> None:
    queries = [info("a", (0.1,), truth=(0, 7)), info("a", (0.1,), truth=()), info("a", (0.1,), 5)]

    assert nearest_accuracy(queries) == 0.5
    assert nearest_accuracy([info("a", (0.1,), truth=())]) is None
