"""Memories are deleted from the command line only where that is confirmed."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.service.conftest import Run, answer, text

import visual_memory

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory, Start

    from visual_memory import Client


def test_deleting_a_memory_shows_what_would_go_and_needs_apply(
    run: Run, client: Client, pets: RemoteMemory
) -> None:
    shown = text(run("delete-memory", pets.name))
    told = answer(run("delete-memory", pets.name, "--json"))
    count = client.memory(pets.name).info().count
    deleted = answer(run("delete-memory", pets.name, "--apply", "--json"))

    assert shown == (
        f"{pets.name} would be deleted, with 3 entries of 2 labels.\n"
        "Nothing was deleted; add --apply to do it.\n"
    )
    counts = {"entries": 3, "certificates": 0, "not_ended": []}
    assert (told, count) == ({"memory": pets.name, **counts, "deleted": False}, 3)
    assert deleted == {"memory": pets.name, "deleted": True}
    assert pets.name not in [each.name for each in client.memories()]


def test_a_damaged_memory_is_shown_and_deleted_as_well(run: Run, start: Start) -> None:
    server = start()
    with visual_memory.connect(server.address) as client:
        client.create_memory("hurt", dimension=2)
    server.end()
    (file,) = (server.data / "memories").glob("*.sqlite")
    file.write_bytes(b"no database" * 1000)
    server.start()

    shown = text(run("delete-memory", "hurt", "--server", server.address))
    text(run("delete-memory", "hurt", "--server", server.address, "--apply"))

    assert shown.startswith("hurt would be deleted, which cannot be used: ")
    assert shown.endswith("\nNothing was deleted; add --apply to do it.\n")
    with visual_memory.connect(server.address) as client:
        assert client.memories() == []


def test_certificates_and_erasures_that_would_go_are_named(run: Run, start: Start) -> None:
    server = start()
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=2)
        memory.insert(vectors=np.eye(2), labels=["cat", "dog"], ids=["a", "b"])
        memory.unlearn(["a"])
        client.wait(memory.unlearn(["nobody"], allow_missing=True, wait=False).name)
        (file,) = (server.data / "memories").glob("*.sqlite")
        with closing(sqlite3.connect(file)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            erasure = memory.unlearn(["b"], wait=False).name

            shown = text(run("delete-memory", "pets", "--server", server.address))
            told = answer(run("delete-memory", "pets", "--server", server.address, "--json"))

    assert (told["certificates"], told["not_ended"]) == (1, [erasure])
    assert "With it would go 1 certificate of erasure, and which ids were unlearned:" in shown
    assert f"An erasure that has not ended would end without a certificate: {erasure}.\n" in shown


def test_a_drift_is_told_with_the_calibration_and_in_the_list(run: Run, client: Client) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 8)) + 2.0
    memory = client.create_memory("asked", dimension=8)
    memory.insert(vectors=rows, labels=["cat", "dog"] * 30)
    shown = [text(run("info", "asked"))]
    memory.calibrate(k=5, voting="softmax", balance=0.5)
    shown.append(text(run("info", "asked")))
    ask: Any = {"k": 5, "voting": "softmax", "balance": 0.5, "calibrated": True}
    memory.classify(vectors=-rows[:1], **ask)
    memory.insert(vectors=rows[:1], labels=["cat"])
    shown.append(text(run("info", "asked")))
    listed = [text(run("list"))]
    memory.classify(vectors=-rows[:19], **ask)
    shown.append(text(run("info", "asked")))
    listed.append(text(run("list")))
    told = answer(run("info", "asked", "--json"))["drift"]
    memory.calibrate(k=5, head="discriminants")
    shown.append(text(run("info", "asked")))
    client.delete_memory("asked")

    many = (
        "20 of the last 20 calibrated queries were rejected, 1.3 were to be expected: "
        "drift. These pictures are unlike those it was calibrated by, or the entries have changed "
        "since; insert some with labels and calibrate again, or try --domain. Where entries come "
        "in groups, such as frames of a scene, a calibration by entries without --group-by makes "
        "drift, too."
    )
    assert "alibrated" not in shown[0]
    assert re.search(
        r"^Calibrated 20\S+ \S+ UTC for "
        r"--k 5 --voting softmax --temperature 0\.07 --balance 0\.5 --head none\.$",
        shown[1],
        re.MULTILINE,
    )
    assert "queries" not in shown[1]
    assert (
        "--balance 0.5 --head none; entries were changed since.\n"
        "1 of the last 1 calibrated query was rejected, 0.1 were to be expected.\n"
    ) in shown[2]
    assert f"\n{many}\n" in shown[3]
    assert (
        " UTC for --k 5 --voting rank --balance 0 --head discriminants --ridge 1 "
        "--head-temperature 0.05 --blend 0.5.\n"
    ) in shown[4]
    assert "asked:" not in listed[0]
    assert f"\nasked: {many}\n" in listed[1]
    assert (told["count"], told["rejected"], told["drifting"]) == (20, 20, True)
