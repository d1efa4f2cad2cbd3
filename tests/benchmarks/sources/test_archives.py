from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from visual_memory_benchmarks.errors import BadFile
from visual_memory_benchmarks.sources.archives import unpack


def tarred(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix != ".tar" else "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_at_the_top_is_left_out(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar.gz", {"set/cat/1.png": b"1", "set/README": b"r"})

    unpack([archive], tmp_path / "set")

    assert content(tmp_path / "set") == {"cat/1.png": b"1", "README": b"r"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "set"]


def test_several_archives_make_one_set(tmp_path: Path) -> None:
    archives = [
        tarred(tmp_path / f"{name}.tar", {f"{name}/1/cat/a.png": name.encode()})
        for name in ("fog", "snow")
    ]

    unpack(archives, tmp_path / "set")

    assert content(tmp_path / "set") == {"fog/1/cat/a.png": b"fog", "snow/1/cat/a.png": b"snow"}


def test_an_archive_in_an_archive_is_unpacked_and_one_folder_kept(tmp_path: Path) -> None:
    inner = tarred(tmp_path / "inner.tar.gz", {"101/cat/1.png": b"1"}).read_bytes()
    archive = zipped(tmp_path / "a.zip", {"top/inner.tar.gz": inner, "top/notes.txt": b"n"})

    unpack([archive], tmp_path / "set", "101")

    assert content(tmp_path / "set") == {"cat/1.png": b"1"}
    with pytest.raises(BadFile, match="no folder 102 is in it"):
        unpack([archive], tmp_path / "other", "102")


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"../evil": b"x"}, {}),
        ({"a/../../evil": b"x"}, {}),
        ({}, {"a/link": "../../evil"}),
        ({}, {"link": "/etc/passwd"}),
    ],
)
def test_nothing_of_a_tar_lies_outside(
    files: dict[str, bytes], links: dict[str, str], tmp_path: Path
) -> None:
    archive = tarred(tmp_path / "in/a.tar", files, links)

    with pytest.raises(BadFile, match="not safe to unpack"):
        unpack([archive], tmp_path / "in/set")

    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "in/evil").exists()
    assert not (tmp_path / "in/set").exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a\\..\\..\\evil", "C:/evil"])
def test_nothing_of_a_zip_lies_outside(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="outside of the folder"):
        unpack([zipped(tmp_path / "a.zip", {name: b"x"})], tmp_path / "set")

    assert not (tmp_path / "set").exists()


def test_a_zip_may_name_its_top_folder(tmp_path: Path) -> None:
    unpack([zipped(tmp_path / "a.zip", {"./": b"", "cat.png": b"1"})], tmp_path / "set")

    assert content(tmp_path / "set") == {"cat.png": b"1"}


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "a.zip", {"a": b"x"}).read_bytes())
    data[6] |= 1  # the flag of encryption, here and in the directory
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)

    with pytest.raises(BadFile, match=r"cannot be unpacked .*encrypted"):
        unpack([tmp_path / "a.zip"], tmp_path / "set")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_what_is_no_archive_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"nothing")

    with pytest.raises(BadFile, match="cannot be unpacked"):
        unpack([tmp_path / name], tmp_path / "set")
