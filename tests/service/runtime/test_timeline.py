"""The parts of a call are kept where somebody wants to know, and else cost nothing."""

from __future__ import annotations

import asyncio
import time

import pytest

from visual_memory_service.runtime.threads import in_thread
from visual_memory_service.runtime.timeline import (
    NOTHING,
    PARTS_MAX,
    Timeline,
    add_part,
    part,
    timeline,
)


def test_without_a_timeline_nothing_is_kept() -> None:
    assert part("a") is NOTHING
    add_part("a", 0.0)


def test_parts_are_kept_in_threads_too_and_also_if_they_fail() -> None:
    def work() -> None:
        with part("thread"):
            time.sleep(0.02)

    async def call() -> Timeline:
        timeline.set(found := Timeline())
        with part("outer"):
            await in_thread(work)
            with pytest.raises(ValueError, match="wrong"), part("failed"):
                raise ValueError("wrong")
        add_part("late", time.monotonic() - 0.5)
        return found

    found = asyncio.run(call())

    assert [each.name for each in found.parts] == ["thread", "failed", "outer", "late"]
    assert found.parts[2].began <= found.parts[0].began <= found.parts[0].ended
    took = found.milliseconds()
    assert took["thread"] >= 20
    assert took["outer"] >= took["thread"]
    assert took["late"] >= 500


def test_calls_beside_each_other_keep_their_own_parts() -> None:
    async def call(name: str) -> list[str]:
        timeline.set(found := Timeline())
        for _ in range(3):
            with part(name):
                await asyncio.sleep(0.001)
        return [each.name for each in found.parts]

    async def both() -> tuple[list[str], list[str]]:
        return await asyncio.gather(call("a"), call("b"))

    assert [*asyncio.run(both())] == [["a"] * 3, ["b"] * 3]


def test_a_long_stream_does_not_fill_the_memory() -> None:
    found = Timeline()
    timeline.set(found)
    for _ in range(PARTS_MAX + 10):
        with part("again"):
            pass
    timeline.set(None)

    assert len(found.parts) == PARTS_MAX
