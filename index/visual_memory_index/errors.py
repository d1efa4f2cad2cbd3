"""What a memory refuses, in its own words; no status codes here."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_MAX = 10


def listed(ids: Sequence[str]) -> str:
    """The first ids, comma-separated, and how many more there are."""
    shown = ", ".join(ids[:SHOWN_MAX])
    return shown if len(ids) <= SHOWN_MAX else f"{shown} and {len(ids) - SHOWN_MAX} more"


class MemoryRefusal(Exception):
    """A request that cannot be met; nothing was changed."""


class UnknownMemory(MemoryRefusal):
    """No memory has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'There is no memory named "{name}"; list them, or create it first.')
        self.name = name


class MemoryExists(MemoryRefusal):
    """A memory of this name is there already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'A memory named "{name}" exists already; choose another name or drop it first.'
        )
        self.name = name


class UnknownEntries(MemoryRefusal):
    """Some ids are not stored; nothing was changed."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(f"No entry has these ids, and nothing was changed: {listed(ids)}.")
        self.ids = tuple(ids)


class EntriesExist(MemoryRefusal):
    """Some ids are stored already; nothing was stored."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(
            f"Entries with these ids exist already, and nothing was stored: {listed(ids)}; "
            "choose other ids, delete them first, or set replace_existing."
        )
        self.ids = tuple(ids)


class WrongDimension(MemoryRefusal):
    """Vectors of another length than the memory's."""

    def __init__(self, got: int, want: int) -> None:
        super().__init__(f"The vectors have dimension {got}, but this memory holds {want}.")
        self.got, self.want = got, want


class EmptyMemory(MemoryRefusal):
    """Nobody is there to vote."""


class BadFilter(MemoryRefusal):
    """A filter text that does not parse, or names what entries do not have."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"The filter is wrong at character {position + 1}: {problem}")
        self.position, self.problem = position, problem


class RequestReused(MemoryRefusal):
    """A request_id that was used for another request."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f'The request_id "{request_id}" was used before with other content, and nothing was '
            "changed; repeat exactly the same call, or use a new request_id."
        )
        self.request_id = request_id


class WrongOffset(MemoryRefusal):
    """An import batch that does not continue where the stored ones end."""

    def __init__(self, got: int, want: int) -> None:
        super().__init__(
            f"This batch starts at entry {got}, but {want} leading entries are stored; "
            f"continue at offset {want}."
        )
        self.got, self.want = got, want


class NewerStore(MemoryRefusal):
    """A file written by a release newer than this one."""

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema {found}, but this release knows up to {known}; "
            "use the newer release that wrote it."
        )
        self.found, self.known = found, known


class CorruptStore(MemoryRefusal):
    """A file that SQLite cannot read, or that contradicts itself."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(
            f"{path} is damaged ({problem}); stop the server, keep the file, and bring this memory "
            "back from a backup or an export."
        )
        self.path, self.problem = path, problem


class DiskFull(MemoryRefusal):
    """The disk took no more; the write was undone."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(
            f"{path} could not be written ({problem}), and nothing was stored; "
            "make room on the disk and try again."
        )
        self.path, self.problem = path, problem


class FolderInUse(MemoryRefusal):
    """Another server works on this data folder."""

    def __init__(self, folder: str, owner: str) -> None:
        super().__init__(
            f"Another server (process {owner}) is using the data folder {folder}; "
            "stop it, or choose another folder."
        )
        self.folder, self.owner = folder, owner


class MemoryClosed(MemoryRefusal):
    """The memory was dropped, or the server is stopping."""

    def __init__(self, name: str) -> None:
        super().__init__(f'The memory "{name}" was dropped or is closing; try again.')
        self.name = name
