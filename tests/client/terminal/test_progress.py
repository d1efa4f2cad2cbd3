"""The line that reports the progress of long work."""

from __future__ import annotations

import re
import sys

import pytest
from tests.client.terminal.terminal import shown
from wcwidth import width

from visual_memory.terminal.progress import Progress


def test_the_line_has_what_is_done_the_rate_and_the_time_left() -> None:
    progress = Progress("pictures", 828)

    progress.add(500)
    progress.add(12)

    assert progress.line().startswith("512/828 pictures, ")
    assert progress.line().endswith("/s, 0 s left")


def test_steps_that_take_unequal_times_get_no_estimate() -> None:
    progress = Progress("steps of erasing", 4, estimate=False)

    progress.reach(1)
    progress.reach(3)

    assert progress.line() == "3/4 steps of erasing"


def test_short_work_says_nothing_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("pictures", 2) as progress:
        progress.add(2)

    assert capsys.readouterr() == ("", "")


def test_long_work_says_what_is_done_at_what_rate_and_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("questions", every=0.0) as progress:
        progress.reach(500, 1000)
        progress.reach(750, 1000)

    first, second = capsys.readouterr().err.splitlines()
    assert first == "500/1,000 questions"
    assert second.startswith("750/1,000 questions, ")
    assert second.endswith(" s left")


LONG = """
from visual_memory.terminal.progress import Progress

with Progress("猫 of a long name", 1000, every=0.0) as progress:
    for done in range(0, 1001, 250):
        progress.reach(done)
    progress.say("waits " * 40)
"""


@pytest.mark.parametrize(("columns", "bar"), [(30, False), (60, True), (100, True)])
def test_on_a_terminal_a_bar_takes_what_a_line_leaves(columns: int, bar: bool) -> None:
    said = shown([sys.executable, "-c", LONG], "stderr", columns=columns)

    lines = said.split("\r\033[K")[1:-1]
    assert len(lines) == 6
    assert max(map(width, lines)) < columns
    assert ("[" in said.replace("\033[K", "")) == bar
    assert not bar or re.search(r"^500/1,000 .* left \[(#+)\.\1\.?\]$|^500", lines[2])
    assert re.search("…", lines[-1])
