"""The record of a run: memory, server, data, parameters and software."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

from visual_memory.files import whole_file
from visual_memory.types import MemoryInfo, ServerInfo
from visual_memory_benchmarks.errors import BadFile, OtherRun

Json: TypeAlias = dict[str, Any]

PACKAGES = ("visual-memory", "grpcio", "numpy", "pillow", "protobuf", "pyarrow")

CHOOSING = frozenset(("limit", "mapping", "seed"))  # decide which pictures are asked about
CHOSEN = ("data ", "questions")  # fields that then differ, too


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a run, written as JSON beside its results.

    ``memory`` holds the memory's name, uid, embedder spec, counts, and digest before the first
    question; ``digest_after`` is the digest after the last one. ``starts`` holds the time of the
    first start and of each resumption, with the server's release and the software versions.
    """

    benchmark: str
    maker: str
    memory: Json
    parameters: Json
    seed: int
    data: dict[str, str]
    questions: int
    starts: tuple[Json, ...]
    digest_after: str | None = None
    end_time: str | None = None

    @property
    def digest(self) -> str:
        """Return the memory's digest before the first question."""
        return str(self.memory["digest"])

    def resumed(self, path: Path) -> Record:
        """Return the record at ``path`` with this start added, or this record if there is none.

        Raises OtherRun if memory, parameters, seed or data differ; edits of the memory are not
        compared.
        """
        if not path.exists():
            return self
        earlier = read(path)
        if differences := self._differences(earlier):
            raise OtherRun(path, differences)
        starts = (*earlier.starts, *self.starts)
        return replace(earlier, starts=starts, digest_after=None, end_time=None)

    def _differences(self, earlier: Record) -> list[str]:
        mine, other = _identity(self), _identity(earlier)
        differing = [key for key in sorted(mine | other) if mine.get(key) != other.get(key)]
        if not CHOOSING.isdisjoint(differing):
            differing = [key for key in differing if not key.startswith(CHOSEN)]
        return [
            f"{key} was {_short(other.get(key))} and is {_short(mine.get(key))}"
            for key in differing
        ]

    def ended(self) -> Record:
        """Return the record, ended now. The caller has checked that ``digest`` is still right."""
        return replace(self, digest_after=self.digest, end_time=now())

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        write_json(path, asdict(self))


def read(path: Path) -> Record:
    """Read the record of a run. Raises BadFile if the file holds none."""
    try:
        found = json.loads(path.read_bytes())
        record = Record(**{**found, "starts": tuple(found["starts"])})
        if not (_identity(record) and record.memory["digest"]):
            raise ValueError("it has no digest")
        return record
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadFile(
            path, f"it is no record of a run ({error})", "remove all of that run"
        ) from None


def _identity(record: Record) -> Json:
    """Return the fields that must be equal to resume a run; callers compare the digest."""
    memory = {key: record.memory[key] for key in ("name", "uid", "embedder")}
    data = {f"data {name}": value for name, value in record.data.items()}
    return {
        **{f"memory {key}": value for key, value in memory.items()},
        **record.parameters,
        "seed": record.seed,
        "questions": record.questions,
        **data,
    }


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"


def describe_memory(info: MemoryInfo) -> Json:
    """Return the description of a memory for a record."""
    return {
        "name": info.name,
        "uid": info.uid,
        "digest": info.digest,
        "embedder": asdict(info.embedder) if info.embedder else None,
        "dimension": info.dimension,
        "count": info.count,
        "pruned_count": info.pruned_count,
        "labels": dict(sorted(info.labels.items())),
    }


def start(server: ServerInfo) -> Json:
    """Return the time, the server's release and the software versions, for ``Record.starts``."""
    return {
        "time": now(),
        "server_version": server.version,
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Map each of PACKAGES that is installed to its version."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    with whole_file(path, overwrite=True) as file:
        file.write(f"{text}\n".encode())
