"""Memory of this process: overwrite what was freed, and search it for residues.

The C library overwrites freed memory, see ``environment``; NumPy keeps the memory of
small freed arrays, which only new arrays overwrite.
"""

from __future__ import annotations

import ctypes
import errno
import io
import mmap
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

import numpy as np

from visual_memory_index import Findings, ResiduePatterns, search_files
from visual_memory_service.runtime.heap import release_free_pages

NUMPY_CACHED_BYTES, NUMPY_CACHED_ARRAYS = 1024, 8  # it keeps up to 7 small buffers of each size
READ_AT_ONCE, OVERLAP = 1 << 23, 1 << 15  # bytes; a pattern may lie across two reads
MAPS, MEMORY = Path("/proc/self/maps"), Path("/proc/self/mem")
STARTED_WITH = Path("/proc/self/cmdline"), Path("/proc/self/environ")
PAGES = Path("/proc/self/pagemap")
PAGE_ENTRY_BYTES, PAGE_THERE = 8, 62  # this bit says that a page is in swap space, the next in RAM
REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+)")


def searchable() -> bool:
    """Return True if this system lets the process read all its memory; only Linux does."""
    return sys.platform == "linux" and all(os.access(each, os.R_OK) for each in (MEMORY, PAGES))


def overwrite_freed() -> None:
    """Overwrite what NumPy freed, and return free pages to the system."""
    for size in range(1, NUMPY_CACHED_BYTES):
        for array in [np.empty(size, np.uint8) for _ in range(NUMPY_CACHED_ARRAYS)]:
            array.fill(0)
    release_free_pages()


def search(patterns: ResiduePatterns) -> Findings:
    """Search all memory that this process can write to for ``patterns``, but for its own buffer.

    Returns the number of bytes searched and the pieces found, masked. Raises OSError if some of the
    memory cannot be read.
    """
    buffer = bytearray(READ_AT_ONCE + OVERLAP)
    own = ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
    found: set[bytes] = set()
    size = 0
    with io.FileIO(MEMORY) as memory, io.FileIO(PAGES) as pages:
        for start, end in writable_ranges(pages, own, own + len(buffer)):
            kept, at = 0, start
            while at < end:
                memory.seek(at)
                room = memoryview(buffer)[kept : kept + min(READ_AT_ONCE, end - at)]
                try:
                    read = memory.readinto(room)
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise  # else this page was freed meanwhile; later pages may exist
                    kept, at = 0, at + mmap.PAGESIZE
                    continue
                if not read:
                    raise OSError(errno.EIO, f"{MEMORY} ends before {at:x}")
                found |= patterns.found_in(memoryview(buffer)[: kept + read])
                at, size, filled = at + read, size + read, kept + read
                kept = min(OVERLAP, filled)
                buffer[:kept] = buffer[filled - kept : filled]
    buffer[:] = bytes(len(buffer))
    return Findings(size, frozenset(found))


def find_in_program(patterns: ResiduePatterns) -> frozenset[bytes]:
    """Return the pieces of ``patterns`` that this process holds whatever the entries are.

    They occur in the program's code, its command line, its environment or the paths of the files
    that it maps. The pieces are masked, or a search of this process would find them.
    """
    return search_files(open_each((*program_files(), *STARTED_WITH, MAPS)), patterns).found


def open_each(paths: Iterable[Path]) -> Iterator[int]:
    """Yield a descriptor of each file that can be opened, and close it before opening the next."""
    for path in paths:
        with suppress(OSError), path.open("rb") as file:  # such as one that an upgrade replaced
            yield file.fileno()


def program_files() -> set[Path]:
    """Return the files of the code of this process: modules, programs and libraries."""
    mapped = (
        line.split(maxsplit=5)[-1]
        for line in MAPS.read_text().splitlines()
        if (match := REGION.match(line)) is not None and "x" in match[3]
    )
    named = (getattr(each, "__file__", None) for each in list(sys.modules.values()))
    loaded = [each for each in named if isinstance(each, str)]
    compiled = map(cache_from_source, loaded)  # a proxy in the place of a module has no __cached__
    return {path for each in (*mapped, *loaded, *compiled) if (path := Path(each)).is_file()}


def writable_ranges(pages: io.FileIO, left_out: int, until: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the writable pages in RAM of this process, from low to high address.

    Addresses from ``left_out`` to ``until`` are skipped; ``pages`` is ``/proc/self/pagemap``, open.
    """
    for line in MAPS.read_text().splitlines():
        match = REGION.match(line)
        if match is None or not match[3].startswith("rw"):
            continue
        for start, end in resident_ranges(pages, int(match[1], 16), int(match[2], 16)):
            for piece in ((start, min(end, left_out)), (max(start, until), end)):
                if piece[0] < piece[1]:
                    yield piece


def resident_ranges(pages: io.FileIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the pages between ``start`` and ``end`` that are in RAM or swapped out.

    Reading other pages would create them. ``pages`` is ``/proc/self/pagemap``, open for reading.
    Raises OSError if not all of its entries for these pages can be read.
    """
    pages.seek(start // mmap.PAGESIZE * PAGE_ENTRY_BYTES)
    size = (end - start) // mmap.PAGESIZE * PAGE_ENTRY_BYTES
    data = pages.read(size)
    if len(data) < size:
        raise OSError(errno.EIO, f"{pages.name} has {len(data)} of {size} bytes")
    there = np.frombuffer(data, "<u8") >> np.uint64(PAGE_THERE) != 0
    edges = np.flatnonzero(np.diff(there, prepend=False, append=False)).reshape(-1, 2)
    for first, last in edges.tolist():
        yield start + first * mmap.PAGESIZE, start + last * mmap.PAGESIZE
