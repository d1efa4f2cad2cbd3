"""Fetching of datasets into a user's folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from visual_memory_benchmarks.errors import BadDownload, MissingData
from visual_memory_benchmarks.sources.archives import unpack
from visual_memory_benchmarks.sources.downloads import LOCK, Progress, fetch, read_json
from visual_memory_benchmarks.sources.sources import SOURCES, Archive, Source

DOWNLOADS = ".downloads"


def source(name: str) -> Source:
    """Return where a dataset is downloaded from. Raises MissingData if ``name`` is unknown."""
    if name not in SOURCES:
        raise MissingData(name, f"nothing is known of it; there are {', '.join(SOURCES)}")
    return SOURCES[name]


def get(source: Source, data: Path, progress: Progress = lambda done, total: None) -> list[str]:
    """Download and unpack a dataset to ``data``/NAME; return sentences on unverified files.

    ``progress`` is called with the bytes of each file so far and in all. Raises MissingData for
    datasets to be fetched by hand, BadDownload, BadFile.
    """
    folder = data / source.name
    if folder.exists():
        raise BadDownload(f"{folder} is there already; remove it to fetch it again.")
    if not source.fetched:
        raise MissingData(source.name, "it cannot be fetched by this command", source.remedy(data))
    archives = (source.archive,) if source.archive else listed(source.record)
    paths = [data / DOWNLOADS / source.name / file_name(each) for each in archives]
    lock = data / LOCK
    notes = [fetch(each, path, lock, progress) for each, path in zip(archives, paths, strict=True)]
    try:
        unpack(paths, folder, source.inside)
    finally:
        for path in paths:
            path.unlink()
    return [note for note in notes if note]


def file_name(archive: Archive) -> str:
    """Return the file's name, the last part of the address. Raises BadDownload if it has none."""
    parts = [each for each in urlsplit(archive.url).path.split("/") if each != "content"]
    name = parts[-1]
    if not name or name.startswith("."):
        raise BadDownload(f"{archive.url} names no file.")
    return name


def listed(record: str) -> tuple[Archive, ...]:
    """Return the files of a Zenodo record with their checksums. Raises BadDownload."""
    found = read_json(record)
    try:
        archives = tuple(
            Archive(each["links"]["self"], _md5(each["checksum"])) for each in found["files"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadDownload(f"{record} is no record of files ({error!r}).") from None
    if not archives:
        raise BadDownload(f"{record} lists no files; its page says who may fetch them.")
    return archives


def _md5(checksum: str) -> str | None:
    kind, _, value = checksum.partition(":")
    return value if kind == "md5" else None
