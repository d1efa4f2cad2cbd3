from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.benchmarks.web import Web, serving

from visual_memory_benchmarks.errors import BadDownload
from visual_memory_benchmarks.sources.downloads import fetch, read_json
from visual_memory_benchmarks.sources.sources import Archive

DATA = bytes(range(256)) * 20_000


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        web.files["/a.tar"] = DATA
        web.tags["/a.tar"] = '"one"'
        yield web


def fetched(archive: Archive, folder: Path) -> str | None:
    return fetch(archive, folder / "a.tar", folder / "lock.json", lambda done, total: None)


def test_a_file_with_a_published_checksum_is_verified(web: Web, tmp_path: Path) -> None:
    archive = Archive(web.url("/a.tar"), hashlib.md5(DATA).hexdigest())
    told: list[tuple[int, int]] = []

    note = fetch(archive, tmp_path / "a.tar", tmp_path / "lock.json", lambda *n: told.append(n))

    assert note is None
    assert (tmp_path / "a.tar").read_bytes() == DATA
    assert told[-1] == (len(DATA), len(DATA))
    assert json.loads((tmp_path / "lock.json").read_bytes())[archive.url]["verified"]


def test_a_file_that_is_not_what_was_published_is_removed(web: Web, tmp_path: Path) -> None:
    with pytest.raises(BadDownload, match=r"is not what was published: its MD5 is .*, not 00\."):
        fetched(Archive(web.url("/a.tar"), "00"), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_file_without_checksum_is_locked_to_what_came_first(web: Web, tmp_path: Path) -> None:
    archive = Archive(web.url("/a.tar"))

    note = fetched(archive, tmp_path)

    assert note is not None
    assert "could not be verified" in note
    lock = json.loads((tmp_path / "lock.json").read_bytes())[archive.url]
    assert lock["bytes"] == len(DATA)
    assert lock["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert not lock["verified"]
    (tmp_path / "a.tar").unlink()
    web.files["/a.tar"] = b"other"
    with pytest.raises(BadDownload, match="is not what it was on"):
        fetched(archive, tmp_path)


def test_a_download_that_was_cut_off_goes_on(web: Web, tmp_path: Path) -> None:
    archive = Archive(web.url("/a.tar"), hashlib.md5(DATA).hexdigest())
    web.cut = 1_000_000
    with pytest.raises(BadDownload, match="what came is kept, and the same command goes on"):
        fetched(archive, tmp_path)

    fetched(archive, tmp_path)

    assert web.asked == ["", "bytes=1000000-"]
    assert (tmp_path / "a.tar").read_bytes() == DATA
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "lock.json"]


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(web: Web, tmp_path: Path) -> None:
    web.cut = 1_000_000
    with pytest.raises(BadDownload):
        fetched(Archive(web.url("/a.tar")), tmp_path)
    web.files["/a.tar"], web.tags["/a.tar"] = DATA[::-1], '"two"'

    fetched(Archive(web.url("/a.tar")), tmp_path)

    assert (tmp_path / "a.tar").read_bytes() == DATA[::-1]


def test_without_a_version_a_cut_download_starts_again(web: Web, tmp_path: Path) -> None:
    web.tags.clear()
    web.cut = 1_000_000
    with pytest.raises(BadDownload):
        fetched(Archive(web.url("/a.tar")), tmp_path)

    fetched(Archive(web.url("/a.tar")), tmp_path)

    assert web.asked == ["", ""]
    assert (tmp_path / "a.tar").read_bytes() == DATA


def test_a_file_whose_end_cannot_be_told_from_a_break_is_not_taken(
    web: Web, tmp_path: Path
) -> None:
    web.end, web.cut = "close", 1_000_000

    with pytest.raises(BadDownload, match="neither its length nor a published checksum"):
        fetched(Archive(web.url("/a.tar")), tmp_path)

    assert not (tmp_path / "a.tar").exists()
    fetched(Archive(web.url("/a.tar"), hashlib.md5(DATA).hexdigest()), tmp_path)
    assert (tmp_path / "a.tar").read_bytes() == DATA


def test_chunks_say_where_a_file_ends(web: Web, tmp_path: Path) -> None:
    web.end, web.cut = "chunks", 1_000_000
    with pytest.raises(BadDownload, match="what came is kept"):
        fetched(Archive(web.url("/a.tar")), tmp_path)

    fetched(Archive(web.url("/a.tar")), tmp_path)

    assert (tmp_path / "a.tar").read_bytes() == DATA


def test_a_whole_download_that_was_not_yet_taken_over_is(web: Web, tmp_path: Path) -> None:
    (tmp_path / "a.tar.partial").write_bytes(DATA)
    (tmp_path / "a.tar.partial.tag").write_text('"one"')

    fetched(Archive(web.url("/a.tar")), tmp_path)

    assert (tmp_path / "a.tar").read_bytes() == DATA


@pytest.mark.parametrize("url", ["/none.tar", "file:///etc/passwd", "http://127.0.0.1:9/a.tar"])
def test_what_cannot_be_fetched_is_said(url: str, web: Web, tmp_path: Path) -> None:
    url = web.url(url) if url.startswith("/") else url

    with pytest.raises(BadDownload, match=r"cannot be fetched|no address of the web"):
        fetched(Archive(url), tmp_path)


def test_json_is_read_or_refused(web: Web) -> None:
    web.files |= {"/good": b'{"a": 1}', "/bad": b"<html>"}

    assert read_json(web.url("/good")) == {"a": 1}
    for path in ("/bad", "/none"):
        with pytest.raises(BadDownload, match="cannot be fetched"):
            read_json(web.url(path))
