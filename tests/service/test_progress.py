"""``progress`` of every method that takes it, called by both clients of a real server."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory

from visual_memory import Client, Memory, aio
from visual_memory.terminal import progress
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Server
    from tests.service.conftest import Run

Reports = list[tuple[int, int]]
COUNT = 1500
IDS = [f"{number:04}" for number in range(COUNT)]
ROWS = np.random.default_rng(1128).normal(size=(COUNT, 8))
LABELS = ["a", "b", "c"] * (COUNT // 3)
HELD = {"vectors": ROWS[:100], "labels": LABELS[:100]}
ENTRIES = {"vectors": ROWS, "labels": LABELS, "ids": [f"new {id}" for id in IDS]}

# The method of a memory, its arguments, and the total that it reports.
CALLS: dict[str, tuple[str, dict[str, Any], int]] = {
    "one message": ("insert", ENTRIES, COUNT),
    "several batches": ("insert", {**ENTRIES, "atomic": False}, COUNT),
    "counts": ("misleading_counts", {"k": 10}, COUNT),
    "hard": ("prune", {"method": "hard", "k": 10, "threshold": 5}, 3 * COUNT),
    "random": ("prune", {"method": "random", "fraction": 0.1}, 3 * COUNT),
    "means": ("prune", {"method": "prototype", "fraction": 0.1}, 3 * COUNT),
    "clusters": ("prune", {"method": "prototype", "fraction": 0.1, "clusters": 9}, 3 * COUNT),
    "value": ("prune", {"method": "value", "fraction": 0.1}, 3 * COUNT),
    "ids": ("prune", {"method": "ids", "ids": IDS[:5], "apply": True}, 3 * COUNT),
    "values": ("values", {}, COUNT),
    "values to queries": ("values", HELD, 100),
    "assess": ("assess", {}, COUNT),
    "judge": ("judge_labels", {}, COUNT),
    "calibrate": ("calibrate", {}, COUNT),
    "calibrate by queries": ("calibrate", HELD, 100),
    "tune": ("tune", {}, COUNT),
    "check": ("check", {}, COUNT + 2),  # entries and events
    "unlearn": ("unlearn", {"ids": IDS[:1]}, 4),  # steps
}

# What a command ends its progress with; NAME stands for the memory.
COMMANDS = {
    "assess NAME": "1,500/1,500 entries judged",
    "calibrate NAME": "1,500/1,500 entries judged",
    "tune NAME": "1,500/1,500 entries asked",
    "prune NAME --k 10 --threshold 5": "4,500/4,500 steps",
    "prune NAME --method value --fraction 0.1 --apply": "4,500/4,500 steps",
    "check NAME": "1,502/1,502 entries and events",
    "unlearn NAME --ids-file ids.txt --certificate a.json --apply": "4/4 steps of erasing",
    "export NAME a.parquet": "1,500/1,500 entries",
}


@pytest.fixture
def server(server_of_files: Server) -> Server:
    return server_of_files


@pytest.fixture
def filled(client: Client, empty: RemoteMemory) -> Iterator[Memory]:
    """A memory of 1500 entries of three labels, which is deleted with the copies made of it."""
    memory = client.create_memory(f"{empty.name}x", dimension=8)
    memory.insert(vectors=ROWS, labels=LABELS, ids=IDS)
    yield memory
    for each in client.memories():
        if each.name.startswith(memory.name):
            client.delete_memory(each.name)


def check_reports(reports: Reports, total: int) -> None:
    """Check that reports never go back, are all of one total, and end with it."""
    assert reports == sorted(reports)
    assert {each for _, each in reports} == {total}
    assert reports[-1] == (total, total)


@pytest.mark.parametrize("name", CALLS)
def test_progress_ends_with_all_of_one_total(filled: Memory, name: str) -> None:
    method, arguments, total = CALLS[name]
    reports: Reports = []

    getattr(filled, method)(**arguments, progress=lambda *counts: reports.append(counts))

    check_reports(reports, total)


@pytest.mark.parametrize("name", CALLS)
def test_progress_ends_so_for_asyncio_too(server: Server, filled: Memory, name: str) -> None:
    method, arguments, total = CALLS[name]
    reports: Reports = []

    async def call() -> None:
        async with aio.connect(server.address) as client:
            act = getattr(client.memory(filled.name), method)
            await act(**arguments, progress=lambda *counts: reports.append(counts))

    asyncio.run(call())

    check_reports(reports, total)


def test_progress_of_a_backup_and_its_restore_ends_with_the_bytes_of_the_file(
    client: Client, filled: Memory, tmp_path: Path
) -> None:
    file, sent, received = tmp_path / "a.vmb", Reports(), Reports()
    filled.delete(IDS[100:])  # which leaves the memory's file larger than its backup

    count = client.backup(filled.name, file, progress=lambda *counts: received.append(counts))
    client.restore(file, f"{filled.name}2", progress=lambda *counts: sent.append(counts))

    check_reports(received, count)
    check_reports(sent, count)


def test_progress_of_a_backup_and_its_restore_ends_so_for_asyncio_too(
    server: Server, filled: Memory, tmp_path: Path
) -> None:
    file, sent, received = tmp_path / "a.vmb", Reports(), Reports()

    async def transfer() -> int:
        async with aio.connect(server.address) as client:
            count = await client.backup(
                filled.name, file, progress=lambda *counts: received.append(counts)
            )
            restored = f"{filled.name}2"
            await client.restore(file, restored, progress=lambda *counts: sent.append(counts))
            return count

    count = asyncio.run(transfer())

    check_reports(received, count)
    check_reports(sent, count)


def test_counts_that_are_known_already_are_reported_at_once(filled: Memory) -> None:
    reports: Reports = []
    filled.misleading_counts(10)

    filled.misleading_counts(10, progress=lambda *counts: reports.append(counts))

    assert reports == [(COUNT, COUNT)]


def test_an_operation_that_ended_says_so_in_its_progress(client: Client, filled: Memory) -> None:
    reports: Reports = []
    ended = client.wait(filled.assess(wait=False).name)

    again = client.wait(ended.name, progress=lambda *counts: reports.append(counts))

    assert (ended.done, ended.total) == (again.done, again.total) == (COUNT, COUNT)
    assert reports == [(COUNT, COUNT)]


def test_running_operations_are_listed_with_their_progress(
    server: Server, client: Client, filled: Memory
) -> None:
    filled.insert(
        vectors=np.random.default_rng(1129).normal(size=(20_000, 8)), labels=["a", "b"] * 10_000
    )
    running = filled.prune(method="value", fraction=0.1, wait=False)
    listed = running
    while listed.state == "running" and not listed.done:
        (listed,) = (each for each in client.operations(filled.name) if each.name == running.name)
    client.cancel(running.name)

    assert listed.state == "running"
    assert 0 < listed.done < listed.total == 3 * (COUNT + 20_000)


def test_a_backup_says_its_size_before_its_first_piece(server: Server, filled: Memory) -> None:
    answers = list(server.stub.BackupMemory(pb.BackupMemoryRequest(memory=filled.name)))

    size = sum(len(answer.data) for answer in answers)
    assert {answer.total_bytes for answer in answers if answer.data} == {size}
    assert {answer.total_bytes for answer in answers if not answer.data} <= {0}


@pytest.mark.parametrize("line", COMMANDS)
def test_progress_of_a_command_ends_with_all_of_one_total(
    run: Run, filled: Memory, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    Path("ids.txt").write_text("0007\n")

    done = run(*line.replace("NAME", filled.name).split())

    lines = done.stderr.splitlines()
    found = [re.match(r"([\d,]+)/([\d,]+) ", each) for each in lines]
    counts = [[int(number.replace(",", "")) for number in each.groups()] for each in found if each]
    assert done.returncode == 0
    assert len(counts) == len(lines)
    check_reports([(reached, total) for reached, total in counts], counts[0][1])
    assert re.match(f"{COMMANDS[line]}(,|$)", lines[-1])


def test_every_method_that_takes_progress_is_tried_here() -> None:
    taking = {
        name
        for kind in (Client, Memory)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if "progress" in inspect.signature(method).parameters and not name.startswith("_")
    }

    assert taking == {method for method, _, _ in CALLS.values()} | {
        *("backup", "restore", "wait"),
        "reembed",  # of pictures, see test_reembed.py
    }
