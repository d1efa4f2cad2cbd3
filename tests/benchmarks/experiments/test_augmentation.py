from __future__ import annotations

from tests.benchmarks.experiments.conftest import Run


def test_copies_that_are_not_distorted_change_no_nearest_neighbour(run: Run) -> None:
    found = run("augmentation", levels={"colour": "cr"}, k=1).tables
    pairs = {(row["remembered"], row["asked"]): row for row in found["pairs"]}
    assert set(pairs) == {
        (remembered, asked)
        for remembered in ("nothing", "other clean pictures", "colour")
        for asked in ("none", "colour")
    }
    assert pairs["colour", "colour"]["gain"].value == 0
    assert pairs["nothing", "none"]["accuracy"] == pairs["nothing", "colour"]["accuracy"]


def test_copies_help_with_their_own_distortion(run: Run) -> None:
    """Rotation by 180 degrees moves every cell of a pattern."""
    found = run("augmentation", levels={"rotation": "180", "contrast": "c50"}, k=1).tables
    pairs = {(row["remembered"], row["asked"]): row for row in found["pairs"]}
    assert pairs["nothing", "rotation"]["accuracy"].value < 0.9
    assert pairs["rotation", "rotation"]["accuracy"].value == 1
    assert pairs["rotation", "rotation"]["gain_over_clean"].value > 0
    transfer = {row["remembered"]: row for row in found["transfer"]}
    assert transfer["rotation"]["same"] == pairs["rotation", "rotation"]["gain"]
    assert transfer["rotation"]["others"] == pairs["rotation", "contrast"]["gain"]
    assert transfer["other clean pictures"]["same"] is None
