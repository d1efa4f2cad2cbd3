"""A disk that can lose power: what may be left of files that were written, and not yet synced.

Rules, chosen to allow all that ext4, XFS and btrfs may do, and more:

- fsync and fdatasync of a file keep its bytes and its size, as far as they were written before the
  call began, and nothing else. Its name is kept by an fsync of its folder.
- Of names that were given, changed or taken in one folder since its last fsync, the first so many
  are kept. A rename within a folder is kept or lost as one.
- Each block of a file has, by itself, the bytes that it had at some moment since the last sync:
  writes are lost, reordered and torn. Blocks are of 512 bytes (a sector), 4,096 (a page), or the
  whole file (writes in their order). A sector is never torn, and bytes beside it are safe.
- The size of a file is one that it had since the last sync. What was never written below it is
  zero.
- A truncation frees blocks. If it is lost, so is what was written after it.

The wal-index, which is mapped into memory, and the lock are left out: after a power loss nobody
reads them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TypeAlias

BLOCKS = (512, 4096, 1 << 62)
LEFT_OUT = ("-shm", ".lock")


@dataclass(frozen=True, slots=True)
class Written:
    """A write of ``data`` at ``offset``."""

    moment: int
    offset: int
    data: bytes

    def apply(self, content: bytearray) -> None:
        put(content, self.offset, self.data)


@dataclass(frozen=True, slots=True)
class Resized:
    """A truncation, or an extension with zeros."""

    moment: int
    size: int

    def apply(self, content: bytearray) -> None:
        resize(content, self.size)


@dataclass(eq=False, slots=True)
class File:
    """A file: ``kept`` is left by a power loss, ``cached`` is read by processes."""

    kept: bytearray = field(default_factory=bytearray)
    cached: bytearray = field(default_factory=bytearray)
    pending: list[Written | Resized] = field(default_factory=list)

    def change(self, change: Written | Resized) -> None:
        change.apply(self.cached)
        self.pending.append(change)

    def sync(self, before: int) -> None:
        """Keep the changes made before that moment."""
        while self.pending and self.pending[0].moment < before:
            self.pending.pop(0).apply(self.kept)

    def remains(self, chance: random.Random) -> bytes:
        """Return content that may be left after a power loss."""
        cuts = [at for at, change in enumerate(self.pending) if isinstance(change, Resized)]
        ends = [*cuts, len(self.pending)]
        happened = chance.randint(0, len(cuts))
        end = ends[happened]
        block_bytes, eager = chance.choice(BLOCKS), chance.choice([0.1, 0.5, 0.9])
        content, reached = bytearray(self.kept), dict[int, int]()
        sizes = [len(content)]
        size = len(content)
        for at, change in enumerate(self.pending[:end]):
            if isinstance(change, Resized):
                change.apply(content)
                size = change.size
                sizes = [size]
                continue
            for block in blocks(change, block_bytes):
                if block not in reached:
                    all_of_it = chance.random() < eager
                    reached[block] = end if all_of_it else chance.randint(0, end)
                if at < reached[block]:
                    offset, data = within(change, block, block_bytes)
                    put(content, offset, data)
            size = max(size, change.offset + len(change.data))
            sizes.append(size)
        resize(content, size if chance.random() < 0.5 else chance.choice(sizes))
        return bytes(content)


@dataclass(eq=False, slots=True)
class Folder:
    """A folder: ``kept`` is left by a power loss, ``cached`` is seen by processes."""

    kept: dict[str, Node] = field(default_factory=dict)
    cached: dict[str, Node] = field(default_factory=dict)
    pending: list[tuple[int, dict[str, Node | None]]] = field(default_factory=list)

    def change(self, moment: int, names: dict[str, Node | None]) -> None:
        """Give names to nodes; a name without a node is removed."""
        name_all(self.cached, names)
        self.pending.append((moment, names))

    def sync(self, before: int) -> None:
        """Keep the changes made before that moment."""
        while self.pending and self.pending[0][0] < before:
            name_all(self.kept, self.pending.pop(0)[1])

    def remains(self, chance: random.Random) -> dict[str, Node]:
        """Return names that may be left after a power loss."""
        left = dict(self.kept)
        for _, names in self.pending[: chance.randint(0, len(self.pending))]:
            name_all(left, names)
        return left


Node: TypeAlias = File | Folder
Image: TypeAlias = Mapping[str, bytes | None]  # by path; folders have no bytes


class Disk:
    """A root folder that cannot be lost, and all that processes do below it.

    ``syncs=False`` is a disk that ignores fsync.
    """

    def __init__(self, *, syncs: bool = True) -> None:
        self._root = Folder()
        self._syncs = syncs

    @property
    def pending(self) -> bool:
        """Return True if a power loss could lose anything."""
        return pending(self._root)

    def find(self, path: PurePath) -> Node | None:
        node: Node | None = self._root
        for part in path.parts:
            node = node.cached.get(part) if isinstance(node, Folder) else None
        return node

    def folder_of(self, path: PurePath) -> Folder:
        folder = self.find(path.parent)
        assert isinstance(folder, Folder), path
        return folder

    def make(self, path: PurePath, node: Node, moment: int) -> None:
        self.folder_of(path).change(moment, {path.name: node})

    def remove(self, path: PurePath, moment: int) -> None:
        self.folder_of(path).change(moment, {path.name: None})

    def rename(self, path: PurePath, to: PurePath, moment: int) -> None:
        assert path.parent == to.parent, "a rename to another folder is not modelled"
        self.folder_of(path).change(moment, {path.name: None, to.name: self.find(path)})

    def sync(self, node: Node, before: int) -> None:
        if self._syncs:
            node.sync(before)

    def cached(self) -> Image:
        """Return the content that processes see, as if all of it had reached the disk."""
        return image(self._root, lambda folder: folder.cached, lambda file: bytes(file.cached))

    def kept(self) -> Image:
        """Return the content that was synced, and nothing else."""
        return image(self._root, lambda folder: folder.kept, lambda file: bytes(file.kept))

    def remains(self, chance: random.Random) -> Image:
        """Return content that may be left after a power loss."""
        return image(
            self._root,
            lambda folder: folder.remains(chance),
            lambda file: file.remains(chance),
        )


def image(
    folder: Folder,
    names: Callable[[Folder], Mapping[str, Node]],
    content: Callable[[File], bytes],
    path: str = "",
) -> Image:
    """Return all that lies below a folder, by path, as read by ``names`` and ``content``."""
    found: dict[str, bytes | None] = {}
    for name, node in names(folder).items():
        below = f"{path}{name}"
        if isinstance(node, Folder):
            found[below] = None
            found |= image(node, names, content, f"{below}/")
        elif not name.endswith(LEFT_OUT):
            found[below] = content(node)
    return found


def pending(node: Node) -> bool:
    if isinstance(node, File):
        return bool(node.pending)
    below = [each for name, each in node.cached.items() if not name.endswith(LEFT_OUT)]
    return bool(node.pending) or any(map(pending, below))


def name_all(folder: dict[str, Node], names: Mapping[str, Node | None]) -> None:
    for name, node in names.items():
        if node is None:
            folder.pop(name, None)
        else:
            folder[name] = node


def put(content: bytearray, offset: int, data: bytes) -> None:
    """Write ``data``; bytes between the old end and ``offset`` become zero."""
    resize(content, max(len(content), offset))
    content[offset : offset + len(data)] = data


def resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def blocks(change: Written, block_bytes: int) -> range:
    """Return the numbers of the blocks that a write touches."""
    first = change.offset // block_bytes
    return range(first, (change.offset + len(change.data) - 1) // block_bytes + 1)


def within(change: Written, block: int, block_bytes: int) -> tuple[int, bytes]:
    """Return the offset and bytes of the part of a write that lies in one block."""
    start = max(change.offset, block * block_bytes)
    end = min(change.offset + len(change.data), (block + 1) * block_bytes)
    return start, change.data[start - change.offset : end - change.offset]
