"""The page's sentences on edits follow from the significant contrasts."""

from __future__ import annotations

from tests.benchmarks.report.made import to_study

from visual_memory_benchmarks.report.sections.edits import effects, sentences, significant


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


def row(outcome: str, value: float, p_holm: float | None, k: int = 10) -> dict[str, object]:
    difference = {"value": value, "low": value - 0.1, "high": value + 0.1}
    about = {"k": k, "kind": "edges", "dose": 1.0, "outcome": outcome}
    return {**about, "difference": difference, "p_holm": p_holm}


RESULT = {
    "outcomes": {"bias": {"tested": True}, "share": {"tested": False}, "kappa": {"tested": True}},
    "edits": [{"kind": "edges", "dose": 1.0, "sizes": [16, 15]}],
    "before": [
        {"k": 10, "outcome": "bias", "value": 0.2, "low": 0.1, "high": 0.3},
        {"k": 10, "outcome": "kappa", "value": None, "low": None, "high": None},
    ],
    "contrasts": [
        row("bias", 0.25, 0.04),
        row("share", 0.5, None),
        row("kappa", -0.05, 0.06),
        row("bias", 0.9, 1.0, k=50),
    ],
}


def test_a_row_is_an_edit_and_a_column_a_tested_outcome() -> None:
    assert effects(RESULT, 10).splitlines() == [
        "| edit | dose | entries | bias | kappa |",
        "| --- | --- | --- | --- | --- |",
        "| before any edit |  |  | 0.200 [0.100, 0.300] | – |",
        "| edges | 1 | 15–16 | **+0.250 [+0.150, +0.350]** | −0.050 [−0.150, +0.050] |",
    ]
