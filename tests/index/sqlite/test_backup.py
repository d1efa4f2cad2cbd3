"""A backup arrives as it was sent, in pieces of any size, or is refused."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import IncomingBackup
from visual_memory_index.errors import BadBackup, DiskFull
from visual_memory_index.sqlite.backup import BEGINNING

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk

DATA = BEGINNING + bytes(range(256)) * 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "arrival.sqlite"


def arrive(path: Path, pieces: Iterable[bytes]) -> bytes:
    """Receive all pieces, and return the content of the file."""
    path.unlink(missing_ok=True)
    with IncomingBackup(path) as arrival:
        for piece in pieces:
            arrival.write(piece)
        arrival.finish()
        return path.read_bytes()


def in_pieces(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted(places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arrivals") / "arrival.sqlite"


@given(places=st.lists(st.integers(0, len(DATA)), max_size=20))
def test_whatever_the_pieces_the_file_is_the_same(places: list[int], scratch: Path) -> None:
    assert arrive(scratch, in_pieces(DATA, places)) == DATA


def test_another_kind_of_file_is_refused_with_its_first_piece(path: Path) -> None:
    with IncomingBackup(path) as arrival, pytest.raises(BadBackup, match="another kind of file"):
        arrival.write(b"PAR1" + bytes(100))


def test_a_file_on_its_way_is_its_owners_alone_and_gone_in_the_end(path: Path) -> None:
    with IncomingBackup(path) as arrival:
        arrival.write(DATA)
        mode = stat.S_IMODE(path.stat().st_mode)
        arrival.finish()
        path.with_name(f"{path.name}-wal").touch()

    assert mode == 0o600
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_is_told_and_the_file_is_gone(small_disk: SmallDisk) -> None:
    path = small_disk.folder / "arrival.sqlite"

    with pytest.raises(DiskFull, match=r"arrival\.sqlite could not be written \(no space left"):
        arrive(path, [BEGINNING, bytes(8 << 20)])

    assert not path.exists()
