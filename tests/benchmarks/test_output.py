from __future__ import annotations

import pytest

from visual_memory_benchmarks.output import interval, print_json, print_table


def test_a_table_has_numbers_to_the_right_and_no_trailing_blanks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("name", "value"), [("a\x1b", 0.5), ("bcdef", 10.0)])

    assert capsys.readouterr().out.splitlines() == [
        "name     value",
        "a?      0.5000",
        "bcdef  10.0000",
    ]


def test_json_keeps_every_letter(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"ä": 1})

    assert capsys.readouterr().out == '{\n  "ä": 1\n}\n'


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (None, "–"),
        ({"value": None, "low": None, "high": None}, "–"),
        ({"value": 0.5, "low": None, "high": None}, "0.5000"),
        ({"value": 0.5, "low": 0.25, "high": 1.0}, "0.5000 [0.2500, 1.0000]"),
    ],
)
def test_an_interval_stands_behind_its_value(
    estimate: dict[str, float | None] | None, text: str
) -> None:
    assert interval(estimate) == text
