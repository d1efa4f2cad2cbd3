"""Errors of the operating system about files become the right refusals."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from visual_memory_index.errors import DiskFull, FileUnavailable, TooManyFiles, WriteFailed
from visual_memory_index.files.disk import (
    SMALL_BYTES,
    probe_folder,
    read_small,
    translate_os_errors,
)


@pytest.mark.parametrize(
    ("number", "kind", "way_out"),
    [
        (errno.ENOSPC, DiskFull, "make room on the disk of the server's data folder, or"),
        (errno.EDQUOT, DiskFull, "make room on the disk of the server's data folder, or"),
        (errno.EROFS, WriteFailed, "let the server write there"),
        (errno.EACCES, WriteFailed, "let the server write there"),
        (errno.EIO, WriteFailed, "look after the disk"),
        (errno.EMFILE, TooManyFiles, "ulimit -n"),
        (errno.ENFILE, TooManyFiles, "ulimit -n"),
    ],
)
def test_a_file_that_cannot_be_written_says_why(
    number: int, kind: type[FileUnavailable], way_out: str
) -> None:
    with pytest.raises(kind, match=way_out) as caught, translate_os_errors(Path("data/a.sqlite")):
        raise OSError(number, os.strerror(number))

    assert type(caught.value) is kind
    assert caught.value.problem == os.strerror(number).lower()


def test_a_lack_of_memory_is_no_matter_of_disks() -> None:
    with pytest.raises(MemoryError), translate_os_errors(Path("a")):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def test_a_folder_that_can_be_written_is_no_trouble_and_stays_empty(tmp_path: Path) -> None:
    assert probe_folder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_troubles_a_folder_is_said_by_the_system(tmp_path: Path) -> None:
    trouble = probe_folder(tmp_path / "nowhere")

    assert trouble is not None
    assert trouble.errno == errno.ENOENT


def test_of_a_small_file_no_more_is_read_and_what_has_no_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (SMALL_BYTES + 1))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zeros").symlink_to("/dev/zero")

    assert len(read_small(tmp_path / "large")) == SMALL_BYTES
    for name in ("fifo", "zeros"):
        with pytest.raises(OSError, match="Not a regular file"):
            read_small(tmp_path / name)
    with pytest.raises(OSError, match="Is a directory") as refused:
        read_small(tmp_path)
    assert refused.value.filename == str(tmp_path)
