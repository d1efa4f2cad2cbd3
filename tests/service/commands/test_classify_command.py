"""Texts of other people reach a terminal as text alone."""

from __future__ import annotations

from collections import Counter

import pytest

from visual_memory_service.commands.classify import report


def test_a_reranker_does_not_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    report(Counter({"failed with INTERNAL: \x1b[31mred\nline": 2}))

    said = capsys.readouterr().err
    assert said == "2 pictures not re-ranked: failed with INTERNAL: \\x1b[31mred\\nline\n"
