"""A backup arrives as it was sent, in pieces of any size, or is refused."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import IncomingBackup, with_checksum
from visual_memory_index.errors import BadBackup, DiskFull
from visual_memory_index.sqlite.backup import BEGINNING, PIECE_BYTES, TRAILER_BYTES

if TYPE_CHECKING:
    from tests.index.conftest import SmallDisk

DATA = BEGINNING + bytes(range(256)) * 5
SEALED = b"".join(with_checksum(io.BytesIO(DATA)))


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


def test_a_file_is_sent_in_pieces_and_its_end() -> None:
    large = BEGINNING + bytes(2 * PIECE_BYTES)

    pieces = list(with_checksum(io.BytesIO(large)))

    assert [len(piece) for piece in pieces] == [PIECE_BYTES, PIECE_BYTES, 16, TRAILER_BYTES]
    assert b"".join(pieces[:-1]) == large


@given(places=st.lists(st.integers(0, len(SEALED)), max_size=20))
def test_whatever_the_pieces_the_file_is_the_same(places: list[int], scratch: Path) -> None:
    assert arrive(scratch, in_pieces(SEALED, places)) == DATA


@given(kept=st.integers(0, len(SEALED) - 1))
def test_a_file_that_is_cut_anywhere_is_refused(kept: int, scratch: Path) -> None:
    with pytest.raises(BadBackup, match="cannot be restored: its end is missing"):
        arrive(scratch, [SEALED[:kept]])


@given(place=st.integers(0, len(SEALED) - 1), bit=st.integers(0, 7))
def test_a_file_with_a_flipped_bit_is_refused(place: int, bit: int, scratch: Path) -> None:
    altered = bytearray(SEALED)
    altered[place] ^= 1 << bit

    with pytest.raises(BadBackup, match=r"altered|its end is missing|another kind|bytes"):
        arrive(scratch, [bytes(altered)])


@given(
    place=st.integers(0, len(SEALED)),
    more=st.binary(min_size=1, max_size=80),
)
def test_a_file_with_something_put_in_is_refused(place: int, more: bytes, scratch: Path) -> None:
    with pytest.raises(BadBackup):
        arrive(scratch, [SEALED[:place], more, SEALED[place:]])


def test_a_piece_that_is_missing_is_told_by_the_length(path: Path) -> None:
    with pytest.raises(BadBackup, match=r"of its 1,296 bytes 1,196 are there"):
        arrive(path, [SEALED[:100], SEALED[200:]])


def test_another_kind_of_file_is_refused_with_its_first_piece(path: Path) -> None:
    with IncomingBackup(path) as arrival, pytest.raises(BadBackup, match="another kind of file"):
        arrival.write(b"PAR1" + bytes(100))


def test_a_file_on_its_way_is_its_owners_alone_and_gone_in_the_end(path: Path) -> None:
    with IncomingBackup(path) as arrival:
        arrival.write(SEALED)
        mode = stat.S_IMODE(path.stat().st_mode)
        arrival.finish()
        path.with_name(f"{path.name}-wal").touch()

    assert mode == 0o600
    assert list(path.parent.iterdir()) == []


def test_equal_files_have_equal_hashes(path: Path) -> None:
    hashes = set()
    for pieces in ([SEALED], in_pieces(SEALED, [1, 700])):
        with IncomingBackup(path) as arrival:
            for piece in pieces:
                arrival.write(piece)
            hashes.add(arrival.sha256)

    assert len(hashes) == 1


def test_a_full_disk_is_told_and_the_file_is_gone(small_disk: SmallDisk) -> None:
    path = small_disk.folder / "arrival.sqlite"
    pieces = list(with_checksum(io.BytesIO(BEGINNING + bytes(8 << 20))))

    with pytest.raises(DiskFull, match=r"arrival\.sqlite could not be written \(no space left"):
        arrive(path, pieces)

    assert not path.exists()
