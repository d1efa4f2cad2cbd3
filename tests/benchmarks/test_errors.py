from __future__ import annotations

from pathlib import Path

from visual_memory_benchmarks.errors import BadFile, listed


def test_few_names_are_listed_and_many_are_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(at) for at in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


def test_a_refusal_names_the_item_the_problem_and_the_way_out() -> None:
    refusal = BadFile(Path("a.csv"), "the file is empty", "finish the run, or remove the file")

    assert str(refusal) == "a.csv: the file is empty; finish the run, or remove the file."
