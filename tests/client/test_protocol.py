"""Addresses of channels with their options, backups with checksums, oneofs in words."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory.protocol import (
    PIECE_BYTES,
    TRAILER_BYTES,
    BackupReader,
    channel_options,
    choices,
    is_address,
    with_checksum,
)
from visual_memory.v1 import service_pb2 as pb

DATA = bytes(range(256)) * 5
SEALED = b"".join(with_checksum(io.BytesIO(DATA)))


def read(pieces: Iterable[bytes]) -> tuple[bytes, bytes]:
    """The database in a backup, and its hash, once the checksum was found to fit."""
    reader = BackupReader()
    database = b"".join([reader.read(piece) for piece in pieces])
    reader.check()
    return database, reader.sha256


def in_pieces(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted(places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


@pytest.mark.parametrize("target", ["host:1", "127.0.0.1:65535", "[::1]:50051", "unix:/tmp/socket"])
def test_a_host_with_a_port_or_a_scheme_of_grpc_is_an_address(target: str) -> None:
    assert is_address(target)


@pytest.mark.parametrize(
    "target", ["host", "host:0", "host:65536", "::1:50051", "ho st:1", "a:1\n"]
)
def test_what_lacks_a_port_that_there_is_or_could_not_be_shown_is_none(target: str) -> None:
    assert not is_address(target)


@pytest.mark.parametrize(
    ("target", "proxied"), [("localhost:1", False), ("[::1]:1", False), ("host:1", True)]
)
def test_this_machine_is_reached_without_a_proxy(target: str, proxied: bool) -> None:
    assert (("grpc.enable_http_proxy", 0) not in channel_options(target)) == proxied


def test_a_sentence_lists_what_a_oneof_may_hold() -> None:
    assert choices(pb.ClassifyRequest, "queries") == "images or vectors"


def test_a_file_is_sent_in_pieces_and_its_end() -> None:
    large = bytes(2 * PIECE_BYTES + 16)

    pieces = list(with_checksum(io.BytesIO(large)))

    assert [len(piece) for piece in pieces] == [PIECE_BYTES, PIECE_BYTES, 16, TRAILER_BYTES]
    assert b"".join(pieces[:-1]) == large


@given(places=st.lists(st.integers(0, len(SEALED)), max_size=20))
def test_whatever_the_pieces_the_database_and_its_hash_are_the_same(places: list[int]) -> None:
    assert read(in_pieces(SEALED, places)) == (DATA, hashlib.sha256(DATA).digest())


@given(kept=st.integers(0, len(SEALED) - 1))
def test_a_backup_that_is_cut_anywhere_is_refused(kept: int) -> None:
    with pytest.raises(ValueError, match="its end is missing"):
        read([SEALED[:kept]])


@given(place=st.integers(0, len(SEALED) - 1), bit=st.integers(0, 7))
def test_a_backup_with_a_flipped_bit_is_refused(place: int, bit: int) -> None:
    altered = bytearray(SEALED)
    altered[place] ^= 1 << bit

    with pytest.raises(ValueError, match=r"altered|its end is missing|bytes"):
        read([bytes(altered)])


@given(place=st.integers(0, len(SEALED)), more=st.binary(min_size=1, max_size=80))
def test_a_backup_with_something_put_in_is_refused(place: int, more: bytes) -> None:
    with pytest.raises(ValueError, match=r"altered|its end is missing|bytes"):
        read([SEALED[:place], more, SEALED[place:]])


def test_a_piece_that_is_missing_is_told_by_the_length() -> None:
    with pytest.raises(ValueError, match=r"of its 1,280 bytes 1,180 are there"):
        read([SEALED[:100], SEALED[200:]])
