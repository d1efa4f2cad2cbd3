"""What the page says of edits follows from the contrasts that stand."""

from __future__ import annotations

from tests.benchmarks.report.made import to_study

from visual_memory_benchmarks.report.sections.edits import sentences, told


def test_a_difference_that_stands_is_learnt_with_its_dose() -> None:
    learnt, price, _ = sentences(to_study({"edges": 0.1, "halving": -0.2}))

    assert "6 of 6 comparisons differ" in learnt
    assert "is above the control's with edges (+0.100 at 1), " in learnt
    assert "and is below the control's with halving (−0.200 at 1)" in learnt
    assert "is above the control's with edges (+0.100 at 1)" in price


def test_what_does_not_stand_after_the_correction_is_not_learnt() -> None:
    study = to_study({"edges": 0.1}, p=0.2)

    learnt, _, not_learnt = sentences(study)

    assert told(study, 10) == []
    assert "differs from the control's under none of the edits" in learnt
    assert "whether edges does anything beyond a random edit" in not_learnt


def test_outcomes_that_are_not_tested_are_no_claims() -> None:
    assert {row["outcome"] for row in told(to_study({"edges": 0.1}), 10)} == {
        "shape_bias",
        "natural_accuracy",
        "likeness",
    }
