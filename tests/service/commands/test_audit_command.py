"""``visual-memory audit``: the log for people and programs, and its verification."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.service.conftest import Run, text

from visual_memory import Client

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory


@pytest.fixture
def run(command: Run) -> Run:
    """Runs ``audit``."""
    return partial(command, "audit")


def test_people_see_the_events_the_newest_last(run: Run, pets: RemoteMemory) -> None:
    lines = text(run(pets.name, "--server", pets.server.address)).splitlines()

    assert " ".join(lines[0].split()) == "event time (UTC) principal call entries digest after"
    assert [line.split()[0] for line in lines[1:]] == ["0", "1"]
    assert [line.split()[4:6] for line in lines[1:]] == [
        ["CreateMemory", "0"],
        ["InsertEntries", "3"],
    ]


def test_of_many_events_the_last_are_shown(run: Run, pets: RemoteMemory) -> None:
    for number in range(23):
        pets.insert([[1, 0, 0, 0]], [f"more {number}"])

    shown = text(run(pets.name, "--server", pets.server.address)).splitlines()
    fewer = text(run(pets.name, "--limit", "2", "--server", pets.server.address)).splitlines()

    assert [line.split()[0] for line in shown[1:-1]] == [str(number) for number in range(5, 25)]
    assert shown[-1] == f"The last 20 events of 25 of {pets.name}; --json shows all."
    assert [line.split()[0] for line in fewer[1:-1]] == ["23", "24"]


def test_programs_get_all_events_with_what_is_hashed(run: Run, pets: RemoteMemory) -> None:
    events = json.loads(text(run(pets.name, "--json", "--server", pets.server.address)))
    last = json.loads(
        text(run(pets.name, "--json", "--limit", "1", "--server", pets.server.address))
    )

    assert [event["call"] for event in events] == ["CreateMemory", "InsertEntries"]
    assert json.loads(events[1]["text"])["count"] == events[1]["count"] == 3
    assert last == events[1:]


def test_verifying_says_that_it_is_whole(run: Run, pets: RemoteMemory) -> None:
    address = pets.server.address

    printed = text(run(pets.name, "--verify", "--server", address))
    answer = json.loads(text(run(pets.name, "--verify", "--json", "--server", address)))

    assert printed.startswith(
        f"The audit log of {pets.name} is whole: 2 events lead to the memory as it is.\n"
    )
    assert f"root    {answer['root']}\n" in printed
    assert (answer["memory"], answer["size"]) == (pets.name, 2)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM audit WHERE number = 1", "event 1 is missing"),
        ("DELETE FROM audit WHERE number = 0", "event 0 is missing, event 1 is there"),
        ("UPDATE audit SET event = 'no' WHERE number = 0", "event 0 cannot be read"),
        (
            "UPDATE audit SET event = replace(event, 'Create', 'Made') WHERE number = 0",
            "event 1 does not follow the one before it",
        ),
        ("UPDATE memory SET digest = zeroblob(2048)", "in another state than after its last event"),
    ],
)
def test_verifying_a_log_that_was_changed_exits_1_and_says_how(
    run: Run, empty: RemoteMemory, client: Client, statement: str, problem: str
) -> None:
    empty.insert([[1, 0, 0, 0]], ["a"])
    (file,) = (empty.server.data / "memories").glob(f"{empty.name}.*.sqlite")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(statement)

    done = run(empty.name, "--verify", "--server", empty.server.address)
    client.delete_memory(empty.name)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f'The audit log of the memory "{empty.name}" does not fit (')
    assert problem in done.stderr


def test_the_log_of_no_memory_exits_1(run: Run, pets: RemoteMemory) -> None:
    done = run("nowhere", "--server", pets.server.address)

    assert (done.returncode, done.stdout) == (1, "")
    assert 'There is no memory named "nowhere"' in done.stderr
