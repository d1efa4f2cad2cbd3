"""Long work returns its result, or with ``wait=False`` its operation, as type checkers know too."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import pytest

from visual_memory import (
    AuditHead,
    Calibration,
    Certificate,
    CheckResult,
    FailedPrecondition,
    Memory,
    Operation,
    PruneResult,
    UnlearnResult,
    aio,
)
from visual_memory._calls.audit import check
from visual_memory._calls.operations import has_ended
from visual_memory.types import Result
from visual_memory_index.errors import DiskFull

# These two are for mypy alone.


def blocking(memory: Memory, wait: bool) -> None:
    assert_type(memory.check(), CheckResult)
    assert_type(memory.check(wait=True), CheckResult)
    assert_type(memory.check(wait=False), Operation)
    assert_type(memory.prune(method="hard", k=5), PruneResult)
    assert_type(memory.prune(method="hard", k=5, wait=False), Operation)
    assert_type(memory.unlearn(["a"]), Certificate)
    assert_type(memory.unlearn(["a"], wait=False), Operation)
    assert_type(memory.unlearn(["a"], dry_run=True), UnlearnResult)
    memory.check(wait=wait)  # type: ignore[call-overload]  # the type of the result is not known
    memory.check(request=3)  # type: ignore[call-overload]
    memory.calibrate(k="5")  # type: ignore[call-overload]


async def awaited(memory: aio.Memory) -> None:
    assert_type(await memory.calibrate(), Calibration)
    assert_type(await memory.calibrate(wait=False), Operation)
    assert_type(await memory.relabel({"a": "cat"}, wait=False), Operation)
    assert_type(await memory.verify_audit_log(), AuditHead)
    await memory.relabel({"a": 3})  # type: ignore[dict-item]


def ended(state: str, problem: str, result: Result | None) -> Operation:
    return Operation("pets/1", "pets", "check", state, 1, 1, problem, None, None, None, result)


def test_the_result_is_that_of_the_operation() -> None:
    found = CheckResult(3, 4, "digest", "pets/1")

    assert check("pets", None).result(ended("done", "", found)) == found


def test_who_waits_is_told_that_an_operation_goes_on_by_itself() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        has_ended(ended("running", str(DiskFull(Path("a.sqlite"), "disk full")), None))

    assert str(caught.value) == (
        'The operation "pets/1" goes on as soon as it can, and need not be started again. For now: '
        "a.sqlite could not be written (disk full), and nothing of this write was stored; make "
        "room on the disk of the server's data folder, or let the server write there (quota, "
        "ulimit -f)."
    )


def test_an_operation_that_is_done_and_whose_result_is_gone_is_refused_by_its_name() -> None:
    with pytest.raises(FailedPrecondition) as refused:
        check("pets", "r").result(ended("done", "What it answered is gone.", None))

    assert refused.value.reason == "RESULT_GONE"
    assert str(refused.value) == (
        'The operation "pets/1" is done, and a repeated call cannot return its result: What it '
        "answered is gone. With another request_id, or none, the call starts a new operation."
    )


@pytest.mark.parametrize(
    ("state", "problem", "sentence"),
    [
        ("failed", "no room.", 'The operation "pets/1" failed: no room.'),
        ("cancelled", "", 'The operation "pets/1" was cancelled: start it again'),
    ],
)
def test_an_operation_that_did_not_succeed_is_refused(
    state: str, problem: str, sentence: str
) -> None:
    with pytest.raises(FailedPrecondition, match=sentence):
        check("pets", None).result(ended(state, problem, None))
