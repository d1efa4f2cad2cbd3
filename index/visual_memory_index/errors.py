"""Refusals of the index, in its own words; no status codes here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

SHOWN_MAX, SHOWN_BYTES_MAX = 10, 512
# Ways out of damage: for a memory's file, for a missing one, for a file emptied beside its log, for
# the catalog, and for a missing catalog.
BROUGHT_BACK = (
    "stop the server, copy the file away with its -wal, and start it again; then delete the memory "
    "and bring this memory back from a backup or an export, with restore or insert"
)
PUT_BACK = (
    "stop the server and put the file back, or, while it runs, delete the memory and bring it "
    "back from a backup or an export, with restore or insert"
)
EMPTIED = (
    "stop the server and copy both away, since SQLite deletes the log beside an empty file; then "
    "make the file one page long with: truncate -s 16384 FILE, and start the server again, which "
    "serves it if the log holds all of it; else bring back a backup, or a copy of the data folder"
)
FOLDER_BACK = "stop the server, keep the file, and bring the whole data folder back from a copy"
CATALOG_BACK = (
    "stop the server and put the catalog back, or bring the whole data folder back from a copy"
)


def listed(ids: Sequence[str]) -> str:
    """Join the first ids with commas, and count the rest; shows at least one."""
    sizes = accumulate(len(id.encode()) for id in ids[:SHOWN_MAX])
    count = max(1, sum(size <= SHOWN_BYTES_MAX for size in sizes))
    shown = ", ".join(ids[:count])
    return shown if len(ids) <= count else f"{shown} and {len(ids) - count} more"


class MemoryRefusal(Exception):
    """The base of all refusals: a request that cannot be met, without any change made."""


class FileRefusal(MemoryRefusal):
    """A refusal about a file, whose name begins the message; ``in_full`` has the whole path."""

    def __init__(self, path: Path, predicate: str) -> None:
        super().__init__(f"{path.name} {predicate}".encode(errors="backslashreplace").decode())
        self.path = path


def in_full(refusal: object) -> str:
    """Return the message of a refusal for the operator of the server, with the whole path."""
    if isinstance(refusal, FileRefusal):
        return str(refusal).replace(refusal.path.name, str(refusal.path), 1)
    return str(refusal)


class UnknownMemory(MemoryRefusal):
    """A name that no memory has."""

    def __init__(self, name: str) -> None:
        super().__init__(f'There is no memory named "{name}"; list them, or create it first.')


class MemoryExists(MemoryRefusal):
    """A name that a memory has already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'A memory named "{name}" exists already; choose another name or delete it first.'
        )


class BadAuditLog(MemoryRefusal):
    """An audit log with a missing or changed event, or an end that does not match its memory."""

    def __init__(self, problem: str, memory: str = "") -> None:
        super().__init__(
            f'The audit log of the memory "{memory}" does not fit ({problem}): another program '
            "changed the file; stop the server, copy the file away with its -wal, and start it "
            "again; then delete the memory and bring this memory back from a backup."
        )
        self.problem = problem


class RequestErased(MemoryRefusal):
    """A repeated write whose answer was dropped because entries were unlearned."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f'The request "{request_id}" was done before; since then entries were unlearned that '
            "it may have named, so what it was is not kept, and it is not done again. Use another "
            "request_id to do it anew."
        )


class TooManyIds(MemoryRefusal):
    """More ids than can be unlearned at once."""

    def __init__(self, count: int, most: int) -> None:
        super().__init__(f"At most {most:,} ids are unlearned at once, but {count:,} were given.")


class UnknownEntries(MemoryRefusal):
    """Ids that are not stored; if a write raised it, nothing was changed."""

    def __init__(self, ids: Sequence[str], *, read: bool = False) -> None:
        unchanged = "" if read else ", and nothing was changed"
        super().__init__(f"No entry has these ids{unchanged}: {listed(ids)}.")
        self.ids = tuple(ids)


class DeletedSince(MemoryRefusal):
    """A repeated update of an entry that was deleted after the first update."""

    def __init__(self, id: str, request_id: str) -> None:
        super().__init__(
            f'The request "{request_id}" changed the entry "{id}" before, which was deleted since.'
        )


class NotVoting(MemoryRefusal):
    """Ids of entries that are not stored or do not vote; nothing was changed."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(
            "No entry that votes here has these ids (they may be pruned or filtered out), and "
            f"nothing was changed: {listed(ids)}."
        )


class EntriesExist(MemoryRefusal):
    """Ids that are stored already; nothing of the write was stored."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(
            "Entries with these ids exist already, and nothing of this write was stored: "
            f"{listed(ids)}; choose other ids, delete them first, or set replace_existing."
        )
        self.ids = tuple(ids)


class WrongDimension(MemoryRefusal):
    """Vectors, or the one in ``field``, of another dimension than the memory's."""

    def __init__(self, got: int, want: int, field: str = "vectors") -> None:
        sentence = f"The vectors have dimension {got}, but this memory holds {want}."
        one = sentence.replace("vectors have", f"{field} has")
        super().__init__(sentence if field == "vectors" else one)
        self.field = field


class HeadTooLarge(MemoryRefusal):
    """A head that would take too much RAM or time; the message says which limit it exceeds."""

    def __init__(self, limit: str, got: str, way_out: str = "admit fewer by a filter") -> None:
        super().__init__(
            f"A head is fitted for {limit}, but here are {got}: {way_out}, or decide by votes "
            "alone, without a head and what needs a calibration."
        )


class TooLittleRam(MemoryRefusal):
    """Work that needs more of the vectors in RAM than fit, where these are on disk."""

    def __init__(self, work: str, wanted: int, available: int, way_out: str) -> None:
        super().__init__(
            f"{work} needs vectors in RAM, {wanted / 1e9:,.1f} GB, and {available / 1e9:,.1f} GB "
            f"are available: {way_out}."
        )


class RidgeTooSmall(MemoryRefusal):
    """A ridge so small that rounding errors would decide."""

    def __init__(self, ridge: float) -> None:
        super().__init__(
            f"With a ridge of {ridge:g} rounding errors would decide, since these entries span few "
            "dimensions; ask with a larger one, such as 1."
        )


class EmptyMemory(MemoryRefusal):
    """A query to a memory in which no entry votes."""


class BadFilter(MemoryRefusal):
    """A filter text that does not parse, or names unknown fields."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"The filter is wrong at character {position + 1}: {problem}")
        self.position, self.problem = position, problem


class RequestReused(MemoryRefusal):
    """A request_id that was used for another request."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f'The request_id "{request_id}" was used before with other content, and nothing was '
            "changed; repeat exactly the same call, or use a new request_id for other content."
        )


class WrongOffset(MemoryRefusal):
    """A batch of an import that does not begin where the stored batches end."""

    def __init__(self, got: int, want: int) -> None:
        super().__init__(
            f"This batch starts at entry {got}, but {want} leading entries are stored; "
            f"continue at offset {want}."
        )
        self.got, self.want = got, want


class UnknownOperation(MemoryRefusal):
    """A name that no operation has."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'The memory has no operation named "{name}"; list its operations. Those of a memory '
            "that was deleted are gone."
        )


class NotUndoable(MemoryRefusal):
    """An operation that cannot be undone: of a kind without undo, not done, or undone already."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f'The operation "{name}" cannot be undone: {problem}.')


class OperationEnded(MemoryRefusal):
    """An operation that cannot be cancelled, since it has ended."""

    def __init__(self, name: str, state: str) -> None:
        super().__init__(f'The operation "{name}" cannot be cancelled: it is {state} already.')


class NewerStore(FileRefusal):
    """A file written by a newer release."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            path,
            f"has schema {found}, but this release knows up to {known}; "
            "use the newer release that wrote it.",
        )
        self.found, self.known = found, known


class CorruptStore(FileRefusal):
    """A file that SQLite cannot read, or that contradicts itself."""

    def __init__(self, path: Path, problem: str, *, way_out: str = "") -> None:
        super().__init__(path, f"is damaged ({problem}); {way_out or BROUGHT_BACK}.")
        self.problem, self.way_out = problem, way_out


class CorruptCopy(MemoryRefusal):
    """Entries in RAM that differ from those in the memory's file, which is intact."""

    def __init__(self, memory: str) -> None:
        super().__init__(
            f'What the server has of the memory "{memory}" in its RAM is not what its file holds; '
            "restart the server, which reads the file again, and see that it has enough "
            "RAM, and that it is sound."
        )


class OtherMemory(FileRefusal):
    """A file that holds another memory than the memory for which the catalog lists the file."""

    def __init__(self, path: Path, name: str, held: str) -> None:
        super().__init__(
            path,
            f'holds {held}, not "{name}": files were exchanged, renamed or copied over each other; '
            "stop the server and bring the right file back to its place.",
        )


class OlderMemory(FileRefusal):
    """A memory's file that lacks writes recorded in the catalog, or has other writes instead."""

    def __init__(self, path: Path, name: str, problem: str) -> None:
        super().__init__(
            path,
            f'is not the memory "{name}" as it was last ({problem}): an older file was put in its '
            "place, or its write-ahead log was lost or damaged; stop the server and bring back the "
            "file of then with its -wal, or a backup, or accept what is there with: "
            f"visual-memory accept {name} --data DIR",
        )


class UnlistedFile(FileRefusal):
    """A memory's file that the catalog does not list; ``called`` is the name to accept it by.

    ``to_rename`` is True if the file's own name is not UTF-8, which the catalog cannot hold.
    """

    def __init__(self, path: Path, name: str, called: str, *, to_rename: bool = False) -> None:
        held = f'holds the memory "{name}"' if name else "may hold a memory"
        way_out = (
            "give the file a name in UTF-8"
            if to_rename
            else "accept what is there with: "
            f'visual-memory accept {called} --data DIR, or delete the memory "{called}"'
        )
        super().__init__(
            path,
            f"{held}, but the list of memories has no such file: it was put there, or "
            "catalog.sqlite is an older one or damaged; stop the server and bring back the catalog "
            f"of then, or {way_out}.",
        )
        self.name, self.to_rename = name, to_rename


class OlderCatalog(FileRefusal):
    """A memory with unlearnings that the catalog has no record of."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(
            path,
            f'holds the memory "{name}" with an unlearning that the catalog does not know of: an '
            "older catalog.sqlite was put in its place, and restoring a backup could bring back "
            "what was unlearned; stop the server and bring back the catalog of then, or delete all "
            f"older backups and accept that with: visual-memory accept {name} --data DIR",
        )


class BadBackup(MemoryRefusal):
    """A file that is not a complete backup of a memory."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The backup cannot be restored: {problem}. Nothing was changed; copy the file anew, "
            "or take an older one."
        )
        self.problem = problem


class LostCatalog(FileRefusal):
    """A used data folder whose catalog is missing."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            "is missing or empty, but this folder has memories or their secret, and without it "
            "nobody knows which memories there are and what was unlearned; bring it back from a "
            "copy of the folder, or name another folder, if no server has used this one.",
        )


class LostSecret(FileRefusal):
    """A used data folder whose secret, the key of its unlearning records, is missing or changed."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            "is missing, or not the one that this data folder was used with, and without it nobody "
            "knows which entries of a backup were unlearned; bring it back from a copy of the "
            "folder.",
        )


class FileUnavailable(FileRefusal):
    """A file that the system does not open, read or write now; a write was undone."""

    tried, way_out = "written ({}), and nothing of this write was stored", ""

    def __init__(self, path: Path, problem: str, *, opening: bool = False) -> None:
        tried = ("opened ({})" if opening else self.tried).format(problem)
        super().__init__(path, f"could not be {tried}; {self.way_out}.")
        self.problem = problem


class DiskFull(FileUnavailable):
    """A write that failed surely or possibly for lack of space; it can be tried again."""

    way_out = (
        "make room on the disk of the server's data folder, or let the server write there (quota, "
        "ulimit -f)"
    )


class WriteFailed(FileUnavailable):
    """A write that the system refuses until someone intervenes; a retry does not help."""

    way_out = "let the server write there, or look after the disk"


class ReadFailed(FileUnavailable):
    """A read that failed because of the disk; a retry may not help."""

    tried = "read ({})"
    way_out = "look after the disk, or bring the file back from a copy or a backup"


class FileHeld(FileUnavailable):
    """A file that another program has locked; a retry may help."""

    way_out = "another program holds it: have that let it go"


class TooManyFiles(FileUnavailable):
    """A file that was not opened because the process or the system has too many files open."""

    way_out = "let the server have more files open (ulimit -n)"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem, opening=True)


class ForeignFolder(MemoryRefusal):
    """A folder that holds files or folders that no server has made."""

    def __init__(self, folder: str, found: str) -> None:
        super().__init__(
            f"{folder} is no data folder of a server: it holds {found!r}, which no server "
            "has made; name an empty folder, or one that is not there yet."
        )
        self.folder = folder


class FolderInUse(MemoryRefusal):
    """A data folder that another server is using."""

    def __init__(self, folder: str, owner: str) -> None:
        super().__init__(
            f"Another server (process {owner}) is using the data folder {folder}; "
            "stop it, or choose another folder."
        )
        self.folder, self.owner = folder, owner


class OthersFolder(MemoryRefusal):
    """A data folder that a server of another user has used."""

    def __init__(self, folder: str, user: int) -> None:
        super().__init__(
            f"The data folder {folder} belongs to another user, number {user}, whose server could "
            "not use the files that are made here: run this as that user, or give it the folder "
            "and all in it first (chown -R)."
        )
        self.folder, self.user = folder, user


class DeviceFailed(MemoryRefusal):
    """A device, such as a GPU, that failed while it searched or took a change."""

    def __init__(self, device: str, problem: str) -> None:
        super().__init__(
            f"{device} failed ({problem}): nothing is lost; restart the server, with device = "
            '"cpu" if it fails again.'
        )


class UnfitDevice(MemoryRefusal):
    """A device that is missing, or that computes less exactly than the bound of scores allows."""

    def __init__(self, device: str, problem: str) -> None:
        super().__init__(f'{device} cannot be used ({problem}); start with device = "cpu".')


class MemoryClosed(MemoryRefusal):
    """A memory that was deleted, or gets other vectors, or whose server is stopping."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'The memory "{name}" was deleted, is closing or gets other vectors; try again.'
        )


class NoPictures(MemoryRefusal):
    """Entries without a stored picture, of which all are needed."""

    def __init__(self, memory: str, count: int, ids: Sequence[str]) -> None:
        super().__init__(
            f'Of {count} entries of the memory "{memory}" no picture is stored, such as '
            f"{listed(ids)}; insert them with their pictures into a memory made with "
            "--store-images, or delete them."
        )
        self.count, self.ids = count, ids


class BadParameter(MemoryRefusal):
    """A number or a word outside its range."""

    def __init__(self, name: str, wish: str, value: object) -> None:
        super().__init__(f"{name} must be {wish}, not {value!r}.")
        self.name, self.wish = name, wish


class TooFewItems(MemoryRefusal):
    """Too few items to estimate anything."""

    def __init__(self, items: str, *, got: int, needed: int) -> None:
        super().__init__(f"At least {needed} {items} are needed, but there are {got}.")
        self.got, self.needed = got, needed


class OneLabel(MemoryRefusal):
    """A memory whose entries all have one label, so that no decision can be wrong."""

    def __init__(self, label: str) -> None:
        super().__init__(
            f'Every entry is labelled "{label}", so no decision can be wrong and there is nothing '
            "to calibrate; insert entries of another label first."
        )


class BadTaxonomy(MemoryRefusal):
    """Edges that form no forest."""


class BadNode(BadTaxonomy):
    """A taxonomy node whose name is not a possible label."""

    def __init__(self, name: str, size: int, most: int) -> None:
        super().__init__(
            f"A node's name is 1 to {most} UTF-8 bytes without NUL, but {name[:40]!r} has {size}."
        )
        self.name = name


class TwoParents(BadTaxonomy):
    """A taxonomy node with two parents."""

    def __init__(self, child: str, parents: tuple[str, str]) -> None:
        super().__init__(
            f'"{child}" has two parents, "{parents[0]}" and "{parents[1]}"; leave one out.'
        )
        self.child, self.parents = child, parents


class Cycle(BadTaxonomy):
    """Taxonomy nodes that are their own ancestors; the last of ``nodes`` repeats the first."""

    def __init__(self, nodes: tuple[str, ...]) -> None:
        shown = (*nodes[:SHOWN_MAX], "…") if len(nodes) > SHOWN_MAX else nodes
        super().__init__(f"These nodes are above themselves: {' → '.join(shown)}.")
        self.nodes = nodes


class TooDeep(BadTaxonomy):
    """A taxonomy node with too many nodes above it."""

    def __init__(self, node: str, most: int) -> None:
        super().__init__(f'"{node}" has more than {most} nodes above it; leave some of them out.')
        self.node = node
