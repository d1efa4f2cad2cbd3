"""Downloads, verified, and resumed where they were cut off."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from visual_memory_benchmarks.errors import BadDownload
from visual_memory_benchmarks.files.record import now, write_json
from visual_memory_benchmarks.sources.sources import Archive

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60.0
LOCK = "data.lock.json"

Progress = Callable[[int, int], None]


def fetch(archive: Archive, target: Path, lock: Path, progress: Progress) -> str | None:
    """Download a file to ``target``; return a sentence if it could not be verified, or None.

    ``lock`` is a JSON file of earlier downloads: a file without a published checksum must be as it
    was the first time. ``progress`` is called with the bytes so far and in all. Raises BadDownload;
    a partial file is kept beside the target.
    """
    if not target.exists():
        partial = target.with_name(f"{target.name}.partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(archive, partial, progress)
        _verify(archive, partial, lock)
        os.replace(partial, target)
    if archive.md5 is None:
        return f"{archive.url} could not be verified; {lock} keeps its size and SHA-256."
    return None


def read_json(url: str) -> Any:
    """Download a JSON value. Raises BadDownload."""
    try:
        with _open(url, {}) as answer:
            return json.load(answer)
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise BadDownload(f"{url} cannot be fetched ({_reason(error)}).") from None


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    if urlsplit(url).scheme not in ("http", "https"):
        raise BadDownload(f"{url} is no address of the web.")
    answer: http.client.HTTPResponse = urlopen(
        Request(url, headers=headers), timeout=TIMEOUT_SECONDS
    )
    return answer


def _download(archive: Archive, partial: Path, progress: Progress) -> None:
    """Download the rest of a file to ``partial``, which is kept if the connection breaks.

    Raises BadDownload.
    """
    tag = partial.with_name(f"{partial.name}.tag")
    try:
        with partial.open("ab") as file:
            _receive(archive, file, tag, progress)
    except (OSError, http.client.HTTPException) as error:
        raise BadDownload(
            f"{archive.url} cannot be fetched ({_reason(error)}); what came is kept, and the "
            "same command goes on."
        ) from None
    tag.unlink(missing_ok=True)


def _receive(archive: Archive, file: IO[bytes], tag: Path, progress: Progress) -> None:
    """Append the bytes of an archive that ``file`` lacks, or all if the server has a new version.

    ``tag`` is a file that holds the version of the bytes received so far.
    """
    done = file.tell()
    version = tag.read_text(encoding="utf-8") if tag.exists() else ""
    headers = {"Range": f"bytes={done}-", "If-Range": version} if done and version else {}
    try:
        answer = _open(archive.url, headers)
    except HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{done}":
            return
        raise
    with answer:
        if answer.length is None and not (answer.chunked or archive.md5):
            raise BadDownload(
                f"{archive.url} cannot be fetched: it has neither its length nor a published "
                "checksum, so that a part of it could be taken for all; fetch it by hand."
            )
        if answer.status != 206:
            file.truncate(done := 0)
            tag.write_text(_version(answer), encoding="utf-8")
        total = done + (answer.length or 0)
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            done += len(chunk)
            progress(done, max(done, total))
    if done < total:
        raise URLError(f"the connection broke after {done:,} of {total:,} bytes")


def _version(answer: http.client.HTTPResponse) -> str:
    """Return a file's ETag, or Last-Modified if the ETag is weak; empty if there is no ETag."""
    tag = answer.headers.get("ETag") or ""
    return answer.headers.get("Last-Modified") or "" if tag.startswith("W/") else tag


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"{error.code} {error.reason}"
    return str(error.reason if isinstance(error, URLError) else error)


def _verify(archive: Archive, path: Path, lock: Path) -> None:
    """Compare a file with its published checksum and the first download; delete it if it differs.

    ``lock`` is the JSON file of earlier downloads, to which this one is added. Raises BadDownload
    if the file differs.
    """
    md5, sha256 = _hashes(path)
    if archive.md5 is not None and md5 != archive.md5:
        path.unlink()
        raise BadDownload(
            f"{archive.url} is not what was published: its MD5 is {md5}, not {archive.md5}. It was "
            "removed."
        )
    known = json.loads(lock.read_bytes()) if lock.exists() else {}
    earlier = known.get(archive.url)
    if earlier and earlier["sha256"] != sha256:
        path.unlink()
        raise BadDownload(
            f"{archive.url} is not what it was on {earlier['time']}: its SHA-256 is {sha256}, not "
            f"{earlier['sha256']}. It was removed; if the change is right, take its entry out of "
            f"{lock}."
        )
    entry = {"bytes": path.stat().st_size, "sha256": sha256, "md5": md5}
    known[archive.url] = earlier or {
        **entry,
        "verified": archive.md5 is not None,
        "time": now(),
    }
    write_json(lock, known)


def _hashes(path: Path) -> tuple[str, str]:
    """Return MD5 and SHA-256."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
    return md5.hexdigest(), sha256.hexdigest()
