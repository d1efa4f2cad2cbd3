"""Entries are parted by their groups at one moment, and the parting can be stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.service.decisions.film import filmed, watched

from visual_memory_index import Rule
from visual_memory_service.decisions.calibration import calibrate_memory
from visual_memory_service.decisions.tune import tune_memory
from visual_memory_service.runtime.operations import Cancelled, Job

WORKS: list[tuple[str, Callable[[Job], object]]] = [
    ("tune", partial(tune_memory, measure="accuracy", group_by="scene", apply=True)),
    ("tune", partial(tune_memory, measure="accuracy", group_by="", apply=True)),
    (
        "calibrate",
        partial(calibrate_memory, rule=Rule(k=5), queries=None, labels=(), group_by="scene"),
    ),
]


@pytest.mark.parametrize(("kind", "work"), WORKS)
def test_an_operation_that_is_cancelled_ends_while_it_parts_the_entries(
    tmp_path: Path, kind: str, work: Callable[[Job], object]
) -> None:
    asked: list[tuple[int, int]] = []
    with filmed(tmp_path) as memory:
        job = watched(memory, kind, lambda *progress: asked.append(progress))
        job.cancelled.set()

        with pytest.raises(Cancelled):
            work(job)

    assert asked == []
