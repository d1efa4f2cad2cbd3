"""The page's sentences on edits follow from the significant contrasts."""

from __future__ import annotations

from tests.benchmarks.report.made import to_study

from visual_memory_benchmarks.report.sections.edits import sentences, significant


def test_a_difference_that_stands_is_learnt_with_its_dose() -> None:
    learnt, price, _ = sentences(to_study({"edges": 0.1, "halving": -0.2}))

    assert "6 of 6 comparisons differ" in learnt
    moved = "from 0.200 to 0.300, under the control to 0.200"
    assert f"is above the control's with edges (+0.100 at 1: {moved}), " in learnt
    assert f"and is below the control's with halving (−0.200 at 1: {moved})" in learnt
    assert f"is above the control's with edges (+0.100 at 1: {moved})" in price


def test_a_bias_that_rises_is_told_with_the_answers_that_came_and_went() -> None:
    learnt, _, _ = sentences(to_study({"edges": 0.1, "halving": -0.2}))

    assert "With edges at 1 answers by shape go from 0.200 to 0.300" in learnt
    assert "answers by texture go from 0.200 to 0.300, under the control to 0.200." in learnt
    assert "With halving" not in learnt


def test_what_does_not_stand_after_the_correction_is_not_learnt() -> None:
    study = to_study({"edges": 0.1}, p=0.2)

    learnt, _, not_learnt = sentences(study)

    assert significant(study, 10) == []
    assert "differs from the control's under none of the edits" in learnt
    assert "whether edges does anything beyond the control" in not_learnt


def test_outcomes_that_are_not_tested_are_no_claims() -> None:
    assert {row["outcome"] for row in significant(to_study({"edges": 0.1}), 10)} == {
        "shape_bias",
        "natural_accuracy",
        "likeness",
    }
