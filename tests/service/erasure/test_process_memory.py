"""Memory that was written to is searched, and memory never written to is skipped."""

from __future__ import annotations

import ctypes
import errno
import io
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from visual_memory_index import ResiduePatterns
from visual_memory_index.erasure.masks import masked
from visual_memory_service.erasure import process_memory
from visual_memory_service.erasure.process_memory import (
    PAGE_ENTRY_BYTES,
    PAGE_THERE,
    PAGES,
    program_files,
    resident_ranges,
    search,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
PAGE = mmap.PAGESIZE


def address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def test_only_pages_that_were_used_are_looked_at() -> None:
    memory = mmap.mmap(-1, 64 * PAGE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    start = address_of(memory)
    for page in (3, 4, 17, 63):
        memory[page * PAGE] = 1

    with io.FileIO(PAGES) as pages:
        found = list(resident_ranges(pages, start, start + 64 * PAGE))

    assert [((one - start) // PAGE, (end - start) // PAGE) for one, end in found] == [
        (3, 5),
        (17, 18),
        (63, 64),
    ]


def test_nothing_of_a_region_that_was_never_used_is_looked_at() -> None:
    memory = mmap.mmap(-1, 64 * PAGE)
    start = address_of(memory)

    with io.FileIO(PAGES) as pages:
        assert list(resident_ranges(pages, start, start + 64 * PAGE)) == []


def test_pages_of_which_the_system_says_too_little_are_not_taken_for_absent(
    tmp_path: Path,
) -> None:
    (tmp_path / "pagemap").write_bytes((1 << PAGE_THERE).to_bytes(PAGE_ENTRY_BYTES, "little") * 3)

    with io.FileIO(tmp_path / "pagemap") as pages:
        assert list(resident_ranges(pages, 0, 3 * PAGE)) == [(0, 3 * PAGE)]
        with pytest.raises(OSError, match="pagemap has 24 of 32 bytes"):
            list(resident_ranges(pages, 0, 4 * PAGE))


def test_memory_that_ends_before_its_pages_is_not_taken_for_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_memory, "MEMORY", Path(os.devnull))

    with pytest.raises(OSError, match="/dev/null ends before"):
        search(ResiduePatterns(["a word"]))


def test_a_piece_of_a_vector_that_lies_across_pages_is_found() -> None:
    vector = np.random.default_rng(1).standard_normal(64, np.float32).tobytes()
    memory = mmap.mmap(-1, 64 * PAGE)
    memory[40 * PAGE - 16 : 40 * PAGE + 16] = vector[96:128]
    patterns = ResiduePatterns((), vectors=[vector])
    masked = patterns.found_in(vector[96:128])

    assert len(masked) == 1
    assert masked <= search(patterns).found


def test_what_follows_memory_that_was_given_back_meanwhile_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system = ctypes.CDLL(None)
    system.mmap.restype = ctypes.c_void_p
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    access = mmap.PROT_READ | mmap.PROT_WRITE
    start = system.mmap(None, ctypes.c_size_t(64 * PAGE), access, private, -1, ctypes.c_long(0))
    ctypes.memset(start, 1, 64 * PAGE)
    vector = np.random.default_rng(2).standard_normal(64, np.float32).tobytes()
    ctypes.memmove(start + 60 * PAGE, vector, len(vector))
    patterns = ResiduePatterns((), vectors=[vector])

    def given_back(*_: object) -> Iterator[tuple[int, int]]:
        assert system.munmap(ctypes.c_void_p(start + 40 * PAGE), ctypes.c_size_t(PAGE)) == 0
        yield start, start + 64 * PAGE

    monkeypatch.setattr(process_memory, "writable_ranges", given_back)
    searched = search(patterns)
    for first, count in ((0, 40), (41, 23)):
        system.munmap(ctypes.c_void_p(start + first * PAGE), ctypes.c_size_t(count * PAGE))

    assert searched.found
    assert searched.size == 63 * PAGE


def test_where_the_system_has_no_memory_for_a_read_nothing_is_taken_for_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refused(io.FileIO):
        def readinto(self, room: Any) -> int:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(io, "FileIO", Refused)
    monkeypatch.setattr(process_memory, "writable_ranges", lambda *_: [(0, PAGE)])

    with pytest.raises(OSError, match="Cannot allocate memory"):
        search(ResiduePatterns(()))


ROOM_TAKEN = """
import tracemalloc
from visual_memory_index import ResiduePatterns
from visual_memory_service.erasure import process_memory
patterns = ResiduePatterns(["malloc_usable_size", "a word of no program"])
patterns.found_in(bytes(64))  # compiles the loop
tracemalloc.start()
words = process_memory.find_in_program(patterns)
print(tracemalloc.get_traced_memory()[1], *(each.hex() for each in words))
"""


def test_what_the_program_has_in_it_is_told_and_takes_no_room() -> None:
    ran = subprocess.run(  # where no thread of another test takes room
        [sys.executable], input=ROOM_TAKEN, check=True, capture_output=True, text=True
    )

    peak, *words = ran.stdout.split()
    assert int(peak) < 25_000_000
    assert words == [masked(b"malloc_usable_size").hex()]


class Answering(ModuleType):
    """A module that has every attribute, like ``torch.ops``."""

    def __getattr__(self, name: str) -> object:
        return ModuleType(name)


class Refusing(ModuleType):
    """A module that raises RuntimeError for unknown attributes, like ``torch.classes``."""

    __file__ = "refusing.py"

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.parametrize("kind", [Answering, Refusing])
def test_modules_that_are_no_file_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, kind: type[ModuleType]
) -> None:
    before = program_files()

    monkeypatch.setitem(sys.modules, "a_proxy", kind("a_proxy"))

    assert program_files() == before


def test_the_program_is_what_is_mapped_to_be_run_its_modules_and_their_compiled_code() -> None:
    assert {
        Path(sys.executable).resolve(),
        Path(np.__file__),
        Path(vars(np)["__cached__"]),
        Path(vars(sys.modules["numpy._core._multiarray_umath"])["__file__"]),
    } <= program_files()


UNREADABLE = """
import os
from visual_memory_service.erasure import process_memory
before = process_memory.searchable()
os.setuid(65534)  # from now on the system keeps the memory of this process from its own user
print(before, process_memory.searchable())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_memory_that_the_system_keeps_from_its_process_is_not_searchable() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", UNREADABLE], check=True, capture_output=True, text=True
    )

    assert ran.stdout.split() == ["True", "False"]
