"""What was written to memory is found there, and what was never written is not looked at."""

from __future__ import annotations

import ctypes
import io
import mmap
import subprocess
import sys

import numpy as np
import pytest

from visual_memory_index import Traces
from visual_memory_service.process_memory import PAGES, search, used

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
        found = list(used(pages, start, start + 64 * PAGE))

    assert [((one - start) // PAGE, (end - start) // PAGE) for one, end in found] == [
        (3, 5),
        (17, 18),
        (63, 64),
    ]


def test_nothing_of_a_region_that_was_never_used_is_looked_at() -> None:
    memory = mmap.mmap(-1, 64 * PAGE)
    start = address_of(memory)

    with io.FileIO(PAGES) as pages:
        assert list(used(pages, start, start + 64 * PAGE)) == []


def test_a_piece_of_a_vector_that_lies_across_pages_is_found() -> None:
    vector = np.random.default_rng(1).standard_normal(64, np.float32).tobytes()
    memory = mmap.mmap(-1, 64 * PAGE)
    memory[40 * PAGE - 16 : 40 * PAGE + 16] = vector[96:128]
    traces = Traces((), vectors=[vector])
    masked = traces.found_in(vector[96:128])

    assert len(masked) == 1
    assert masked <= search(traces).found


def test_what_python_frees_is_overwritten_at_once_in_the_process_that_serves() -> None:
    script = (
        "from visual_memory_index import Traces\n"
        "from visual_memory_service.commands.serve import wipe_what_is_freed\n"
        "from visual_memory_service.process_memory import search\n"
        "wipe_what_is_freed()\n"
        "texts = [f'person-{number:024}' for number in range(2000)]\n"
        "traces = Traces(texts)\n"
        "held = len(search(traces).found)\n"
        "del texts\n"
        "print(traces.count, held, len(search(traces).found))\n"
    )

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout == "2000 2000 0\n"
