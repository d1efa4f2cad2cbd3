"""A file that cannot be read is refused by the path of its field."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.client.transport.test_channel import Moments

from visual_memory import InvalidArgument
from visual_memory.files import file_size, name, read_file, whole_file


@pytest.mark.parametrize(
    ("file", "sentence"),
    [("missing.jpg", ": no such file: missing.jpg."), (os.curdir, ": is a folder: ..")],
)
def test_what_is_no_file_has_no_size(file: str, sentence: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        file_size(file, "images[1]")

    assert str(caught.value) == f"images[1]{sentence}"


@pytest.mark.parametrize("file", [5, None, b"a.jpg", "a\0.jpg", ["a.jpg"]])
def test_what_is_no_path_is_refused_and_no_open_file_is_touched(file: Any) -> None:
    for use in (file_size, read_file):
        with pytest.raises(InvalidArgument, match=r"^images\[1\] must be the path of a file"):
            use(file, "images[1]")
    with (
        pytest.raises(InvalidArgument, match=r"^path must be the path of a file"),
        whole_file(file, overwrite=True),
    ):
        pass


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with (
        pytest.raises(InvalidArgument, match="path: is no file that could be replaced: "),
        whole_file(pipe, overwrite=True),
    ):
        pass

    assert pipe.is_fifo()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("is_link", [False, True])
def test_a_folder_is_refused_before_anything_is_written(
    tmp_path: Path, overwrite: bool, is_link: bool
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = tmp_path / "link" if is_link else folder
    if is_link:
        path.symlink_to(folder)
    with (
        pytest.raises(InvalidArgument, match="path: is a directory: "),
        whole_file(path, overwrite=overwrite),
    ):
        pytest.fail("the file was opened")

    assert path.is_dir()
    assert list(folder.iterdir()) == []


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    file.write_bytes(b"old")
    link.symlink_to(file)

    with whole_file(link, overwrite=True) as opened:
        opened.write(b"new")

    assert link.is_symlink()
    assert file.read_bytes() == b"new"


def test_a_folder_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"images\[1\]: is a directory: "):
        read_file(tmp_path, "images[1]")


def write(file: Path, data: bytes, error: BaseException | None = None) -> None:
    with whole_file(file, overwrite=True) as opened:
        opened.write(data)
        if error is not None:
            raise error


def test_a_name_that_cannot_be_given_is_left_free(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        name(tmp_path / "missing.part", tmp_path / "file")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "Input/output error"), SystemExit(3)]
)
def test_an_error_of_what_is_done_meanwhile_is_told_as_it_is(
    error: BaseException, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")

    with pytest.raises(type(error)) as caught:
        write(file, b"new", error)

    assert caught.value is error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


@pytest.mark.parametrize("size", [1001, 1 << 22])
def test_a_file_that_does_not_fit_is_told_by_its_name(size: int, tmp_path: Path) -> None:
    file, (soft, hard) = tmp_path / "file", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InvalidArgument, match=r"path: file too large: .*file"):
            write(file, bytes(size))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.iterdir()) == []


def test_wherever_an_interrupt_strikes_no_part_of_a_file_is_left(tmp_path: Path) -> None:
    def write() -> None:
        with whole_file(tmp_path / "new", overwrite=True) as file:
            file.write(b"new")

    moments = Moments()
    moments.of(write)
    for struck in range(1, moments.count + 1):
        with suppress(KeyboardInterrupt):
            Moments(struck).of(write)
        assert set(os.listdir(tmp_path)) <= {"new"}
