"""The line that says how far long work has come."""

from __future__ import annotations

import pytest

from visual_memory_service.commands.progress import Progress


def test_the_line_has_what_is_done_the_rate_and_the_time_left() -> None:
    progress = Progress(828, "pictures")

    progress.add(500)
    progress.add(12)

    assert progress.line().startswith("512/828 pictures, ")
    assert progress.line().endswith("/s, 0 s left")


def test_short_work_says_nothing_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress(2, "pictures") as progress:
        progress.add(2)

    assert capsys.readouterr() == ("", "")
