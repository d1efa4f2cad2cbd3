"""A registry in dicts: the oracle for the registry in SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visual_memory_index import Request
from visual_memory_index.catalog.tombstones import (
    BEFORE_ALL,
    check_of,
    make_secret,
    mark,
    read_secret,
)
from visual_memory_index.errors import LostSecret, RequestReused
from visual_memory_index.ledger.standing import Noted


@dataclass
class DictTransaction:
    """A ``RegistryTransaction`` on dicts."""

    memories: dict[str, str] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    gone: list[str] = field(default_factory=list)
    standings: dict[str, Noted] = field(default_factory=dict)
    answers: dict[str, tuple[bytes, Any]] = field(default_factory=dict)
    made: dict[str, tuple[int, str, int]] = field(default_factory=dict)  # the backups
    marks: dict[bytes, int] = field(default_factory=dict)
    tick: int = 0
    secret_check: bytes = b""

    def names(self) -> list[str]:
        return [name for name in self.memories if name in self.ready]

    def file_of(self, name: str) -> str | None:
        return self.memories[name] if name in self.ready else None

    def is_taken(self, name: str) -> bool:
        return name in self.memories

    def files(self) -> dict[str, str]:
        return dict.fromkeys(self.gone, "") | {f: name for name, f in self.memories.items()}

    def dropped(self) -> list[str]:
        return list(self.gone)

    def noted(self, file: str) -> Noted | None:
        return self.standings.get(file)

    def recall(self, request: Request) -> Any:
        fingerprint, answer = self.answers.get(request.id, (request.fingerprint, None))
        if fingerprint != request.fingerprint:
            raise RequestReused(request.id)
        return answer

    def knows_request(self, request_id: str) -> bool:
        return request_id in self.answers

    def ticks(self) -> int:
        return self.tick

    def tick_of_backup(self, backup: str) -> int:
        return self.made[backup][0] if backup in self.made else BEFORE_ALL

    def backups(self, uid: str) -> list[int]:
        return [time for _, each, time in self.made.values() if each == uid]

    def unlearned_since(
        self, secret: bytes, uid: str, ids: Iterable[str], since: int
    ) -> Iterator[str]:
        return (id for id in ids if self.marks.get(mark(secret, uid, id), BEFORE_ALL) > since)

    def unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> list[str]:
        return list(self.unlearned_since(secret, uid, ids, BEFORE_ALL))

    def add(self, name: str, file: str) -> None:
        self.memories[name] = file

    def set_ready(self, name: str) -> None:
        self.ready.add(name)

    def replace(self, name: str, file: str) -> None:
        self.gone = [each for each in self.gone if each != file]
        self.memories[name] = file
        self.ready.add(name)

    def remove(self, name: str) -> str | None:
        self.ready.discard(name)
        return self.memories.pop(name, None)

    def drop(self, file: str) -> None:
        self.gone.append(file)

    def drop_unfinished(self) -> None:
        for name in self.memories.keys() - self.ready:
            self.drop(self.memories.pop(name))

    def keep_ready(self, was_ready: Callable[[str], bool]) -> None:
        self.ready |= {name for name, file in self.memories.items() if was_ready(file)}

    def forget_dropped(self, files: Iterable[str]) -> None:
        self.gone = [file for file in self.gone if file not in {*files}]

    def note(self, file: str, noted: Noted) -> None:
        if file in self.memories.values():
            self.standings[file] = noted

    def keep(self, request: Request, answer: Any) -> None:
        if request.id:
            self.answers[request.id] = request.fingerprint, answer

    def note_backup(self, backup: str, uid: str, time: int) -> None:
        self.tick += 1
        self.made[backup] = self.tick, uid, time

    def mark_unlearned(self, secret: bytes, uid: str, ids: Iterable[str]) -> int:
        self.tick += 1
        self.marks |= {mark(secret, uid, id): self.tick for id in ids}
        return self.tick

    def read_secret(self, path: Path) -> bytes:
        if not self.secret_check:
            make_secret(path)
        found = read_secret(path)
        check = check_of(found)
        if self.secret_check not in (b"", check):
            raise LostSecret(path)
        self.secret_check = check
        return found


class DictRegistry:
    """A ``Registry`` whose transactions change a copy of the dicts, which then replaces them."""

    def __init__(self) -> None:
        self._state = DictTransaction()

    @contextmanager
    def reading(self) -> Iterator[DictTransaction]:
        yield self._state

    @contextmanager
    def transaction(self) -> Iterator[DictTransaction]:
        changed = deepcopy(self._state)
        yield changed
        self._state = changed

    def check(self) -> None:
        """Do nothing: dicts cannot be damaged."""

    def close(self) -> None:
        """Do nothing: no resource is held."""


class DictPlace:
    """A place for a registry in RAM."""

    def __init__(self, folder: Path) -> None:
        self._registry = DictRegistry()

    def open(self) -> DictRegistry:
        return self._registry
