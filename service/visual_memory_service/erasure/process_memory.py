"""The memory of this process: wiping what was freed, and looking what is left in it.

Freed memory is overwritten by the C library, see ``commands.serve``; small arrays are kept aside by
NumPy, where only new ones overwrite them.
"""

from __future__ import annotations

import ctypes
import gc
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

from visual_memory_index import Findings, Traces, search_files

NUMPY_CACHED_BYTES, NUMPY_CACHED_ARRAYS = 1024, 8  # it keeps up to 7 small buffers of each size
READ_AT_ONCE, OVERLAP = 1 << 23, 1 << 15  # bytes; a trace may lie across
MAPS, MEMORY = Path("/proc/self/maps"), Path("/proc/self/mem")
PAGES = Path("/proc/self/pagemap")
PAGE_ENTRY_BYTES, PAGE_THERE = 8, 62  # this bit says that a page is in swap space, the next in RAM
REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+)")


def searchable() -> bool:
    """Whether this system lets a process read all its memory, and wipes what is freed."""
    return sys.platform == "linux" and all(os.access(each, os.R_OK) for each in (MEMORY, PAGES))


def wipe() -> None:
    """Free what waits for it, overwrite what NumPy freed, and give the system free pages back."""
    gc.collect()
    for size in range(1, NUMPY_CACHED_BYTES):
        for array in [np.empty(size, np.uint8) for _ in range(NUMPY_CACHED_ARRAYS)]:
            array.fill(0)
    give_back()


def give_back() -> None:
    """Give the system free pages back; other C libraries than glibc keep what they keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def search(traces: Traces) -> Findings:
    """Look for ``traces`` in all memory that this process can write to."""
    buffer = bytearray(READ_AT_ONCE + OVERLAP)
    own = ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
    found: set[bytes] = set()
    size = 0
    with io.FileIO(MEMORY) as memory, io.FileIO(PAGES) as pages:
        for start, end in regions(pages, own, own + len(buffer)):
            kept, at = 0, start
            while at < end:
                memory.seek(at)
                room = memoryview(buffer)[kept : kept + min(READ_AT_ONCE, end - at)]
                try:
                    read = memory.readinto(room)
                except OSError:  # given back to the system meanwhile; what follows may be there
                    kept, at = 0, at + mmap.PAGESIZE
                    continue
                if not read:
                    break
                found |= traces.found_in(memoryview(buffer)[: kept + read])
                at, size, filled = at + read, size + read, kept + read
                kept = min(OVERLAP, filled)
                buffer[:kept] = buffer[filled - kept : filled]
    buffer[:] = bytes(len(buffer))
    return Findings(size, frozenset(found))


def words(traces: Traces) -> frozenset[bytes]:
    """The pieces of ``traces`` that the program has in it, masked: its modules and libraries."""
    return search_files(opened(program()), traces).found


def opened(paths: Iterable[Path]) -> Iterator[int]:
    """Descriptors of these files, one open at a time."""
    for path in paths:
        with suppress(OSError), path.open("rb") as file:  # such as one that an upgrade replaced
            yield file.fileno()


def program() -> set[Path]:
    """The files that this process runs; what it only reads or writes is none."""
    mapped = (
        line.split(maxsplit=5)[-1]
        for line in MAPS.read_text().splitlines()
        if (match := REGION.match(line)) is not None and "x" in match[3]
    )
    named = (getattr(each, "__file__", None) for each in list(sys.modules.values()))
    loaded = [each for each in named if isinstance(each, str)]
    compiled = map(cache_from_source, loaded)  # a proxy in the place of a module has no __cached__
    return {path for each in (*mapped, *loaded, *compiled) if (path := Path(each)).is_file()}


def regions(pages: io.FileIO, left_out: int, until: int) -> Iterator[tuple[int, int]]:
    """Where memory is that can be written to, and was, without one piece of it."""
    for line in MAPS.read_text().splitlines():
        match = REGION.match(line)
        if match is None or not match[3].startswith("rw"):
            continue
        for start, end in used(pages, int(match[1], 16), int(match[2], 16)):
            for piece in ((start, min(end, left_out)), (max(start, until), end)):
                if piece[0] < piece[1]:
                    yield piece


def used(pages: io.FileIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a region whose pages are there; looking into the others would make them."""
    pages.seek(start // mmap.PAGESIZE * PAGE_ENTRY_BYTES)
    data = pages.read((end - start) // mmap.PAGESIZE * PAGE_ENTRY_BYTES)
    there = np.frombuffer(data, "<u8") >> np.uint64(PAGE_THERE) != 0
    edges = np.flatnonzero(np.diff(there, prepend=False, append=False)).reshape(-1, 2)
    for first, last in edges.tolist():
        yield start + first * mmap.PAGESIZE, start + last * mmap.PAGESIZE
