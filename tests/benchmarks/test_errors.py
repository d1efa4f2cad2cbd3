from __future__ import annotations

from pathlib import Path

from visual_memory_benchmarks.errors import BadFile


def test_a_refusal_names_the_item_the_problem_and_the_way_out() -> None:
    refusal = BadFile(Path("a.csv"), "the file is empty", "finish the run, or remove the file")

    assert str(refusal) == "a.csv: the file is empty; finish the run, or remove the file."
