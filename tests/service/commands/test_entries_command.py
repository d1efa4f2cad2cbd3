"""Entries are listed, by id for other commands too, and updated."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.service.conftest import Run, answer, refused, text

from visual_memory import Client

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory

COMMAND = f"{sys.executable} -m visual_memory_service"


def test_an_update_to_a_label_that_hardly_differs_from_another_says_so(
    run: Run, pets: RemoteMemory
) -> None:
    alike = run("update", pets.name, "--id", "a", "--label", "Dog")
    alone = run("update", pets.name, "--id", "c", "--label", "Dog")
    other = run("update", pets.name, "--id", "b", "--metadata", "x=y")
    answer(run("update", pets.name, "--id", "a", "--label", "DOG", "--json"))

    assert alike.stderr == (
        "Labels that differ only by blanks, by case or by how Unicode writes their letters are "
        "different labels: Dog, dog.\n"
    )
    assert (alone.stderr, other.stderr) == ("", "")


@pytest.mark.parametrize("flags", [[], ["--ids"]])
def test_a_filter_that_matches_no_entry_says_so(
    run: Run, pets: RemoteMemory, flags: list[str]
) -> None:
    none = ("entries", pets.name, "--filter", 'label = "fox"')

    done = run(*none, *flags)

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "0 of 3 entries match.\n"
    assert answer(run(*none, "--json")) == []


def test_times_are_printed_as_utc(run: Run, pets: RemoteMemory) -> None:
    header = text(run("entries", pets.name)).splitlines()[0]
    about = text(run("info", pets.name))

    assert "  created (UTC)  " in header
    assert re.search(r"^Created 20\S+ \S+ UTC\.$", about, re.MULTILINE)


def test_ids_are_listed_as_files_of_ids_have_them(
    run: Run, client: Client, pets: RemoteMemory
) -> None:
    ids = ["\x1b[31m", " blank ", "cat/0.jpg", "o\u0308"]
    client.memory(pets.name).insert(vectors=np.eye(4), labels=["fox"] * 4, ids=ids)
    listing = f"{COMMAND} entries {pets.name} --filter 'label = \"fox\"' --ids"
    unlearning = f"{COMMAND} unlearn {pets.name} --ids-file - --certificate erased.json --apply"

    listed = text(run("entries", pets.name, "--filter", 'label = "fox"', "--ids"))
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{listing} | {unlearning}"], check=True, env=os.environ
    )

    assert listed == "".join(f"{id}\n" for id in ids)
    assert pets.ids() == ["a", "b", "c"]


@pytest.mark.parametrize("id", ["d\na", "d\ra", "d\r", "\ufeffd"])
def test_ids_that_are_no_lines_are_refused_with_nothing_listed(
    run: Run, client: Client, pets: RemoteMemory, id: str
) -> None:
    client.memory(pets.name).insert(vectors=np.eye(4)[3:], labels=["fox"], ids=[id])

    said = refused(run("entries", pets.name, "--ids"))

    assert "in Python" in said


def test_ids_are_not_json(run: Run, pets: RemoteMemory) -> None:
    assert run("entries", pets.name, "--ids", "--json").returncode == 2


def test_a_purge_says_how_many_more_it_would_delete_than_it_names(
    run: Run, client: Client, pets: RemoteMemory
) -> None:
    memory = client.create_memory(f"{pets.name}y", dimension=4)
    memory.insert(vectors=np.eye(4)[[0] * 140], labels=["x"] * 140)

    shown = text(run("purge", memory.name, "--filter", "label = x"))

    assert shown.startswith(f"140 entries would be deleted from {memory.name}: ")
    assert " and 130 more.\nNothing was deleted" in shown
