"""The model of a disk: what is kept, what may be lost, and what may not."""

from __future__ import annotations

import random
from pathlib import PurePath

from tests.durability.power_loss.disk import Disk, File, Folder, Resized, Written

CHANCES = 2000


def file_of(disk: Disk, name: str, *changes: Written | Resized) -> File:
    """Return a file whose name is on the disk, with changes that are not synced."""
    file = File()
    disk.make(PurePath(name), file, 0)
    root = disk.find(PurePath())
    assert root is not None
    disk.sync(root, before=1)
    for change in changes:
        file.change(change)
    return file


def contents_left(disk: Disk, name: str) -> set[bytes | None]:
    """Return all contents that a file may have after a power loss, None if it may be gone."""
    chance = random.Random(0)
    return {disk.remains(chance).get(name) for _ in range(CHANCES)}


def test_of_what_was_not_synced_there_may_be_all_nothing_or_the_size() -> None:
    disk = Disk()
    file_of(disk, "a", Written(1, 0, b"x"))

    assert contents_left(disk, "a") == {b"", b"\0", b"x"}


def test_a_sync_keeps_what_was_written_before_it_began() -> None:
    disk = Disk()
    file = file_of(disk, "a", Written(1, 0, b"x"), Written(3, 0, b"y"))

    disk.sync(file, before=3)

    assert disk.kept() == {"a": b"x"}
    assert contents_left(disk, "a") == {b"x", b"y"}


def test_writes_are_reordered_and_torn_between_sectors_only() -> None:
    disk = Disk()
    file_of(disk, "a", Resized(0, 1024), Written(1, 0, b"x" * 1024), Written(2, 0, b"y" * 1024))

    left = {content for content in contents_left(disk, "a") if content and len(content) == 1024}

    sectors = [bytes(512), b"x" * 512, b"y" * 512]
    assert left == {first + second for first in sectors for second in sectors}


def test_a_sector_keeps_what_an_earlier_write_beside_left() -> None:
    disk = Disk()
    file_of(disk, "a", Written(1, 0, b"x"), Written(2, 1, b"y"))

    assert contents_left(disk, "a") <= {b"", b"x", b"\0", b"x\0", b"\0\0", b"xy"}


def test_what_was_written_after_a_lost_truncation_is_lost() -> None:
    disk = Disk()
    file = file_of(disk, "a", Written(0, 0, b"old"))
    disk.sync(file, before=1)
    file.change(Resized(2, 0))
    file.change(Written(3, 0, b"new"))

    left = contents_left(disk, "a")

    assert {b"old", b"", b"new"} <= left
    assert all(content in (b"old", b"") or set(content or b"") <= set(b"new\0") for content in left)


def test_names_are_kept_in_their_order_and_a_rename_as_one() -> None:
    disk = Disk()
    file_of(disk, "a")
    disk.make(PurePath("b"), File(), 1)
    disk.rename(PurePath("a"), PurePath("c"), 2)
    chance = random.Random(0)

    left = {tuple(sorted(disk.remains(chance))) for _ in range(CHANCES)}

    assert left == {("a",), ("a", "b"), ("b", "c")}


def test_a_synced_file_in_a_folder_that_is_not_is_lost() -> None:
    disk = Disk()
    disk.make(PurePath("folder"), Folder(), 0)
    disk.make(PurePath("folder/a"), file := File(), 1)
    file.change(Written(2, 0, b"x"))
    disk.sync(file, before=3)

    assert disk.kept() == {}
    assert disk.cached() == {"folder": None, "folder/a": b"x"}


def test_a_disk_that_lies_keeps_nothing() -> None:
    disk = Disk(syncs=False)
    file_of(disk, "a", Written(1, 0, b"x"))

    assert disk.kept() == {}
