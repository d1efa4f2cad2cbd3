"""A file with damaged bytes gives right answers or none, and harms no other.

``make damage`` damages 1,000 files of memories, 400 catalogs and 600 logs.
"""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conftest import Server
from tests.durability.damage.damage import Lab, LogLab, asked, damaged, file_of, fresh, wrong
from tests.sealing import alter
from tests.service.conftest import command

from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.service.conftest import Run

__all__ = ["command"]
LIST = pb.ListMemoriesRequest()
MEMORIES = int(os.environ.get("DAMAGED_MEMORIES", "12"))
CATALOGS = int(os.environ.get("DAMAGED_CATALOGS", "6"))
LOGS = int(os.environ.get("DAMAGED_LOGS", "6"))
SERVERS = int(os.environ.get("DAMAGED_SERVERS", "1"))
FIRST = int(os.environ.get("DAMAGE_SEED", random.randrange(1 << 30)))


@pytest.mark.parametrize(("name", "count"), [("pets", MEMORIES), ("catalog", CATALOGS)])
def test_a_damaged_file_is_refused_or_answers_as_before(
    name: str, count: int, tmp_path: Path
) -> None:
    lab = Lab(tmp_path)

    for seed in range(FIRST, FIRST + count):
        lab.round(name, seed)

    print(f"{count} files of {name}: {dict(lab.tally)}")
    assert not lab.failures, "\n".join(lab.failures)


def test_of_a_damaged_log_is_said_how_many_writes_it_lost(tmp_path: Path) -> None:
    lab = LogLab(tmp_path)

    for seed in range(FIRST, FIRST + LOGS):
        lab.round(seed)

    print(f"{LOGS} logs: {dict(lab.tally)}, {lab.lost} of {LOGS * lab.commits} commits lost")
    assert not lab.failures, "\n".join(lab.failures)


def test_the_lab_sees_other_answers_and_a_name_that_is_gone(tmp_path: Path) -> None:
    lab = Lab(tmp_path)

    folder = fresh(lab.whole, lab.work)
    alter(file_of(folder, "pets"), "UPDATE entries SET label = 'other' WHERE id = 'entry 0100'")
    relabelled = wrong(asked(folder), lab.reference)
    folder = fresh(lab.whole, lab.work)
    file_of(folder, "birds").unlink()
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as db, db:
        db.execute("DELETE FROM memories WHERE name = 'birds'")
        db.execute("DELETE FROM sums")
    gone = wrong(asked(folder), lab.reference)

    assert "pets: list is another" in relabelled
    assert gone == ["birds is not named"]


def test_a_server_starts_over_a_damaged_memory_and_a_damaged_catalog_is_one_sentence(
    tmp_path: Path, command: Run
) -> None:
    lab = Lab(tmp_path)
    served = Server(fresh(lab.whole, lab.work))
    for seed in range(FIRST, FIRST + SERVERS):
        served.end()
        fresh(lab.whole, lab.work)
        _, data = damaged(*lab.pages["pets"], random.Random(seed))
        file_of(lab.work, "pets").write_bytes(data)
        served.start()
        listed = {each.name: each for each in served.stub.ListMemories(LIST).memories}
        assert listed.keys() == {"birds", "pets"}
        assert not listed["birds"].damage
    served.end()
    for seed in range(FIRST, FIRST + SERVERS):
        fresh(lab.whole, lab.work)
        _, data = damaged(*lab.pages["catalog"], random.Random(seed))
        file_of(lab.work, "catalog").write_bytes(data)
        checked = command("check", "--data", lab.work)
        assert "Traceback" not in checked.stderr
        if not checked.stdout:
            assert (checked.returncode, checked.stderr.count("\n")) == (1, 1), (
                seed,
                checked.stderr,
            )
