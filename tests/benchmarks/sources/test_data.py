from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.benchmarks.sources.test_archives import content, tarred
from tests.benchmarks.web import Web, serving

from visual_memory_benchmarks.errors import BadDownload, BadFile, MissingData
from visual_memory_benchmarks.sources import data
from visual_memory_benchmarks.sources.sources import SOURCES, Archive, Source


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serving() as web:
        for name in ("fog", "snow"):
            path = tarred(tmp_path / f"made/{name}.tar", {f"{name}/1/cat/a.png": name.encode()})
            web.files[f"/{name}.tar"] = web.files[f"/api/{name}.tar/content"] = path.read_bytes()
        yield web


def source(archive: Archive | None = None, record: str = "") -> Source:
    return Source("made", "a page", "terms", "a folder per class", archive, record)


def test_a_set_is_fetched_unpacked_and_tidied_up(web: Web, tmp_path: Path) -> None:
    notes = data.get(source(Archive(web.url("/fog.tar"))), tmp_path / "data")

    assert content(tmp_path / "data/made") == {"1/cat/a.png": b"fog"}
    assert len(notes) == 1
    assert (tmp_path / "data/data.lock.json").exists()
    assert not list((tmp_path / "data/.downloads").rglob("*.tar"))


def test_the_files_of_a_record_are_verified_by_its_checksums(web: Web, tmp_path: Path) -> None:
    files = [
        {
            "links": {"self": web.url(f"/api/{name}.tar/content")},
            "checksum": f"md5:{hashlib.md5(web.files[f'/{name}.tar']).hexdigest()}",
        }
        for name in ("fog", "snow")
    ]
    web.files["/record"] = json.dumps({"files": files}).encode()

    notes = data.get(source(record=web.url("/record")), tmp_path / "data")

    assert notes == []
    assert set(content(tmp_path / "data/made")) == {"fog/1/cat/a.png", "snow/1/cat/a.png"}
    web.files["/record"] = b'{"files": [{}]}'
    with pytest.raises(BadDownload, match="no record of files"):
        data.get(source(record=web.url("/record")), tmp_path / "other")


@pytest.mark.parametrize("files", [b"[]", b"{}", b"null"])
def test_a_record_without_files_is_no_set(files: bytes, web: Web, tmp_path: Path) -> None:
    web.files["/record"] = b'{"files": %b}' % files

    with pytest.raises(BadDownload, match=r"/record (lists no files|is no record of files)"):
        data.get(source(record=web.url("/record")), tmp_path / "data")

    assert not (tmp_path / "data").exists()


def test_an_archive_without_files_is_no_set(web: Web, tmp_path: Path) -> None:
    web.files["/empty.tar"] = tarred(tmp_path / "made/empty.tar", {}).read_bytes()

    with pytest.raises(BadFile, match="no file is in it"):
        data.get(source(Archive(web.url("/empty.tar"))), tmp_path / "data")

    assert not (tmp_path / "data/made").exists()


def test_a_set_that_is_there_is_left_alone(web: Web, tmp_path: Path) -> None:
    (tmp_path / "data/made").mkdir(parents=True)

    with pytest.raises(BadDownload, match="is there already"):
        data.get(source(Archive(web.url("/fog.tar"))), tmp_path / "data")
    assert web.asked == []


def test_what_cannot_be_unpacked_is_no_set_and_not_kept(web: Web, tmp_path: Path) -> None:
    web.files["/fog.tar"] = b"no archive"

    with pytest.raises(BadFile, match="cannot be unpacked"):
        data.get(source(Archive(web.url("/fog.tar"))), tmp_path / "data")

    assert not (tmp_path / "data/made").exists()
    assert not list((tmp_path / "data/.downloads").rglob("*.tar"))


def test_what_has_to_be_fetched_by_hand_is_said_with_its_page(tmp_path: Path) -> None:
    sentence = (
        r"cannot be fetched by this command\. Put it, a folder per class, into .*made; .*page"
    )

    with pytest.raises(MissingData, match=sentence):
        data.get(source(), tmp_path)
    with pytest.raises(MissingData, match="nothing is known of it; there are edge"):
        data.source("none")
    assert data.source("edge") is SOURCES["edge"]
