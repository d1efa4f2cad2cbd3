from __future__ import annotations

import pytest

from visual_memory_benchmarks.progress import Progress


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("questions") as progress:
        for done in range(10):
            progress(done, 10)

    assert capsys.readouterr().err == ""


def test_long_work_says_what_is_done_at_what_rate_and_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("questions", every=0.0) as progress:
        progress(500, 1000)
        progress(750, 1000)

    first, second = capsys.readouterr().err.splitlines()
    assert first == "500/1,000 questions"
    assert second.startswith("750/1,000 questions, ")
    assert second.endswith(" s left")
