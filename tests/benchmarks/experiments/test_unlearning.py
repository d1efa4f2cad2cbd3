from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.experiments.conftest import Run
from tests.benchmarks.experiments.made import KNOWN, Cellular

import visual_memory
from visual_memory_benchmarks.experiments import EXPERIMENTS
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet


def test_a_class_that_was_unlearnt_was_never_there(run: Run) -> None:
    result = run("unlearning", labels=("bird",), k=5)
    (row,) = result.tables["classes"]
    assert row["entries"] == 12
    assert row["same_digest"]
    assert row["decisions"] == 48 + 2 * 16
    assert row["other_decisions"] == 0
    assert row["certified"]
    assert row["named_by_certificate"]
    assert row["still_called"].value == 0
    assert set(row["called"]) <= set(KNOWN) - {"bird"}
    assert result.states["never held bird"] == result.states["unlearnt bird"]


def test_without_labels_each_is_unlearnt_in_turn(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    two = sets["natural16"].where(lambda each: each.category in KNOWN[:2])
    result = EXPERIMENTS["unlearning"].run(
        client, {**sets, "natural16": two}, [Cellular()], labels=None, k=1
    )
    assert [row["label"] for row in result.tables["classes"]] == list(KNOWN[:2])
