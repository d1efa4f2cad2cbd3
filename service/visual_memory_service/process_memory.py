"""The memory of this process: wiping what was freed, and looking what is left in it.

Freed memory is overwritten by the C library, see ``commands.serve``; small objects of Python and
small arrays are kept aside by Python and NumPy, where only new ones overwrite them.
"""

from __future__ import annotations

import ctypes
import gc
import io
import mmap
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visual_memory_index import Searched, Traces

POOLED_BYTES_MAX, POOLED_STEP = 512, 16
BYTES_HEADER = 33  # of a bytes object, with the zero at its end
POOL_BYTES = 4 << 20
NUMPY_CACHED_BYTES, NUMPY_CACHED_ARRAYS = 1024, 8  # it keeps up to 7 small buffers of each size
PYTHON_POOL_BYTES = 1 << 14
# used blocks, first free one, next and previous pool, arena, size class, next fresh block, its last
POOL_HEADER = struct.Struct("QPPPIIII")
READ_AT_ONCE, OVERLAP = 1 << 23, 1 << 15  # bytes; a trace may lie across
WIPE = ctypes.PyDLL(None).memset  # no other thread of Python runs meanwhile
WIPE.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
MAPS, MEMORY = Path("/proc/self/maps"), Path("/proc/self/mem")
PAGES = Path("/proc/self/pagemap")
PAGE_ENTRY_BYTES, PAGE_THERE = 8, 62  # this bit says that a page is in swap space, the next in RAM
REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+)")


def searchable() -> bool:
    """Whether this system lets a process read all its memory, and wipes what is freed."""
    return sys.platform == "linux" and MEMORY.exists() and PAGES.exists()


def wipe(effort: int) -> None:
    """Overwrite what Python freed, and give free pages back to the system, which clears them.

    More ``effort`` fills more of Python's pools.
    """
    gc.collect()
    for size in range(POOLED_STEP, POOLED_BYTES_MAX + 1, POOLED_STEP):
        fill = max(0, size - BYTES_HEADER)
        filled = [bytes(fill) for _ in range(effort * POOL_BYTES // size)]
        del filled
    for size in range(1, NUMPY_CACHED_BYTES):
        for array in [np.empty(size, np.uint8) for _ in range(NUMPY_CACHED_ARRAYS)]:
            array.fill(0)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def search(traces: Traces) -> Searched:
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
                except OSError:  # given back to the system meanwhile
                    break
                if not read:
                    break
                for piece, place in traces.pieces(memoryview(buffer)[: kept + read]):
                    if not wiped_slack(memory, at - kept + place):
                        found.add(piece)
                at, size, filled = at + read, size + read, kept + read
                kept = min(OVERLAP, filled)
                buffer[:kept] = buffer[filled - kept : filled]
    buffer[:] = bytes(len(buffer))
    return Searched(size, frozenset(found))


def wiped_slack(memory: io.FileIO, address: int) -> bool:
    """Whether an address was in the end of a pool of Python's that nobody can use; it is zero now.

    A pool that was emptied may serve objects of another size later. What is left over behind the
    last of these still holds what was there before, and nothing else would ever overwrite it.
    """
    pool = address // PYTHON_POOL_BYTES * PYTHON_POOL_BYTES
    memory.seek(pool)
    try:
        header = memory.read(POOL_HEADER.size)
    except OSError:
        return False
    if len(header) < POOL_HEADER.size:
        return False
    used, _, _, _, _, kind, _, last = POOL_HEADER.unpack(header)
    size = POOLED_STEP * (kind + 1)
    room = (PYTHON_POOL_BYTES - POOL_HEADER.size) // size
    if size > POOLED_BYTES_MAX or last != PYTHON_POOL_BYTES - size or not 0 < used <= room:
        return False
    slack = pool + POOL_HEADER.size + room * size
    if address < slack:
        return False
    WIPE(slack, 0, pool + PYTHON_POOL_BYTES - slack)
    return True


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
