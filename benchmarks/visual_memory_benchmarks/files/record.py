"""What a run was made with: memory, server, data, parameters and software."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
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

CHOOSING = frozenset(("limit", "mapping", "seed"))  # they decide which pictures are asked about,
CHOSEN = ("data ", "questions")  # which differ then, too


@dataclass(frozen=True, slots=True)
class Record:
    """As JSON beside the results.

    ``memory`` is told by its name, uid, embedder spec, counts and digest before the first
    question; ``digest_after`` is that after the last one. ``starts`` are when the run began and
    was resumed, each with the server's release and the software here.
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
        """Of the memory, before the first question."""
        return str(self.memory["digest"])

    def resumed(self, path: Path) -> Record:
        """This start as a further one of the run recorded there, if there is one.

        Raises OtherRun where memory, parameters, seed or data differ, edits of the memory aside.
        """
        if not path.exists():
            return self
        earlier = read(path)
        if differences := self._differences(earlier):
            raise OtherRun(path, differences)
        return replace(earlier, starts=(*earlier.starts, *self.starts), end_time=None)

    def _differences(self, earlier: Record) -> list[str]:
        mine, other = _identity(self), _identity(earlier)
        differing = [key for key in sorted(mine | other) if mine.get(key) != other.get(key)]
        if not CHOOSING.isdisjoint(differing):
            differing = [key for key in differing if not key.startswith(CHOSEN)]
        return [
            f"{key} was {_short(other.get(key))} and is {_short(mine.get(key))}"
            for key in differing
        ]

    def ended(self, digest: str) -> Record:
        """Once every question is answered."""
        return replace(self, digest_after=digest, end_time=now())

    def write(self, path: Path) -> None:
        """A file that is there whole or not at all."""
        write_json(path, asdict(self))


def read(path: Path) -> Record:
    """Raises BadFile."""
    try:
        found = json.loads(path.read_bytes())
        return Record(**{**found, "starts": tuple(found["starts"])})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadFile(
            path, f"it is no record of a run ({error})", "remove all of that run"
        ) from None


def _identity(record: Record) -> Json:
    """What may not differ when a run goes on; the digest is looked at by whoever asks."""
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


def told(info: MemoryInfo) -> Json:
    """A memory as a record has it."""
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


def start(server: ServerInfo, clock: Callable[[], str] | None = None) -> Json:
    """One start: when, by what."""
    return {
        "time": (clock or now)(),
        "server_version": server.version,
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """The versions of those installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A file that is there whole or not at all."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    with whole_file(path, overwrite=True) as file:
        file.write(f"{text}\n".encode())
