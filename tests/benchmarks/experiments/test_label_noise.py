from __future__ import annotations

import numpy as np
from tests.benchmarks.experiments.conftest import Run

from visual_memory_benchmarks.experiments.label_noise import flipped


def test_as_many_labels_as_were_asked_for_become_others() -> None:
    labels = np.array(list("abcd") * 25)
    for share in (0.0, 0.3, 1.0):
        noisy = flipped(labels, share, np.random.default_rng(0))
        assert (noisy != labels).sum() == 100 * share
    assert set(noisy) == set("abcd")


def test_pruning_what_misleads_mends_a_nearest_neighbour(run: Run) -> None:
    found = run("label_noise", shares=(0.0, 0.25), k=1, count_k=5, threshold=3, seeds=3).tables[
        "noise"
    ]
    rows = {(row["wrong_labels"], row["method"]): row for row in found}
    assert rows[0.0, "none"]["accuracy"].value == rows[0.0, "hard"]["accuracy"].value == 1
    assert rows[0.0, "hard"]["pruned"].value == 0
    assert rows[0.25, "none"]["gain"].value == 0
    assert rows[0.25, "none"]["accuracy"].value < 0.9
    assert rows[0.25, "hard"]["gain"].value > 0.05
    assert rows[0.25, "hard"]["pruned"] == rows[0.25, "random"]["pruned"]


def test_where_a_prune_leaves_nobody_there_is_no_accuracy(run: Run) -> None:
    found = run("label_noise", shares=(0.0,), k=1, count_k=24, threshold=1, seeds=2).tables["noise"]
    rows = {row["method"]: row for row in found}
    assert rows["hard"]["pruned"].value == 1
    assert rows["hard"]["accuracy"].value is None
    assert rows["none"]["accuracy"].value == 1
