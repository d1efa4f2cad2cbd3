"""``operations wait`` reports progress for as long as the work takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

import pytest

from visual_memory import Client, Operation
from visual_memory.terminal import progress
from visual_memory_service.cli import build_parser
from visual_memory_service.commands.operations import operations

BEGUN = datetime(2026, 1, 2, tzinfo=UTC)


class Slow:
    """A client that reports progress twice before an operation of this kind ends."""

    def __init__(self, kind: str, problem: str = "") -> None:
        self.kind, self.problem = kind, problem

    def operation(self, operation: str) -> Operation:
        return Operation(operation, "m", self.kind, "running", 0, 0, "", BEGUN, None, None)

    def wait(self, operation: str, *, progress: Callable[[int, int], None]) -> Operation:
        progress(0, 9)
        progress(6, 9)
        state = "failed" if self.problem else "done"
        return Operation(operation, "m", self.kind, state, 9, 9, self.problem, BEGUN, BEGUN, None)


@pytest.mark.parametrize("kind", ["assess", "unlearn"])
def test_what_is_done_of_how_much_is_told_while_it_is_waited_for(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    options = build_parser().parse_args(["operations", "wait", "m/1"])

    code = operations(cast(Client, Slow(kind)), options)

    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert code == 0
    assert first == "0/9 steps"
    assert second == "6/9 steps" if kind == "unlearn" else second.startswith("6/9 steps, ")
    assert said.out.splitlines()[1].split()[:3] == ["m/1", kind, "done"]


def test_why_an_operation_failed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    options = build_parser().parse_args(["operations", "wait", "m/1"])

    code = operations(cast(Client, Slow("prune", "The server stopped.")), options)

    assert code == 1
    assert capsys.readouterr().out.splitlines()[-1] == "The server stopped."
