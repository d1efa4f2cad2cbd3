"""Disk space is reserved, released once, and reserved again when there is enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from visual_memory_index.files.reserve import RESERVE_BYTES_MAX, Reserve

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reserve"


def test_it_takes_room_on_the_disk_and_gives_it_up_once(path: Path) -> None:
    reserve = Reserve(path)
    reserve.renew()
    assert path.stat().st_size == RESERVE_BYTES_MAX
    assert path.stat().st_blocks * 512 >= RESERVE_BYTES_MAX
    assert path.stat().st_mode & 0o777 == 0o600

    assert (reserve.give_up(), reserve.give_up()) == (True, False)
    assert not path.exists()


def test_it_grows_to_its_size_once_there_is_room(path: Path) -> None:
    path.write_bytes(b"")
    Reserve(path).renew()
    assert path.stat().st_size == RESERVE_BYTES_MAX

    Reserve(path).renew()
    assert path.stat().st_size == RESERVE_BYTES_MAX


def test_a_small_disk_keeps_most_of_its_room_and_a_full_one_is_no_trouble(
    small_disk: SmallDisk,
) -> None:
    path = small_disk.folder / "reserve"
    reserve = Reserve(path)
    reserve.renew()
    assert 500_000 < path.stat().st_size < 1_100_000

    assert reserve.give_up()
    small_disk.fill()
    reserve.renew()
    assert path.stat().st_size == 0
    assert not reserve.give_up()


def test_a_folder_that_cannot_be_written_to_has_none(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "missing" / "reserve")

    reserve.renew()

    assert not reserve.give_up()
