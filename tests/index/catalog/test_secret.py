"""A secret is made once, is its owner's alone, and is missed when it is gone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from visual_memory_index import LostSecret
from visual_memory_index.catalog import secret


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "tombstones.key"


def test_a_secret_is_of_32_random_bytes_that_only_its_owner_reads(path: Path) -> None:
    secret.make(path)
    first = secret.read(path)
    path.unlink()
    secret.make(path)

    assert len(first) == 32
    assert secret.read(path) != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_secret_that_is_there_stays(path: Path) -> None:
    secret.make(path)
    first = secret.read(path)

    secret.make(path)

    assert secret.read(path) == first


def test_a_start_that_was_cut_short_is_made_good(path: Path) -> None:
    path.parent.mkdir()
    part = path.parent / ".tombstones.key.part"
    part.write_bytes(b"half")

    secret.make(path)

    assert len(secret.read(path)) == 32
    assert not part.exists()


@pytest.mark.parametrize("data", [None, b"", bytes(31), bytes(33)])
def test_a_secret_that_is_missing_or_none_is_refused_by_its_path(
    data: bytes | None, path: Path
) -> None:
    path.parent.mkdir()
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(LostSecret, match="is missing, or not the one") as caught:
        secret.read(path)

    assert caught.value.path == str(path)
