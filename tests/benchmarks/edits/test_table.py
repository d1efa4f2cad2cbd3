from __future__ import annotations

from visual_memory_benchmarks.edits.table import to_markdown


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
    assert to_markdown(RESULT, 10).splitlines() == [
        "| edit | dose | entries | bias | kappa |",
        "| --- | --- | --- | --- | --- |",
        "| before any edit |  |  | 0.200 [0.100, 0.300] | – |",
        "| edges | 1 | 15–16 | **+0.250 [+0.150, +0.350]** | −0.050 [−0.150, +0.050] |",
    ]
