"""Rows are kept by their bounds, to the last bit, and the best lower bounds are known."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.codes.pairs import KINDS, vectors
from tests.index.codes.replica import bounds, one_of

import visual_memory_index
from visual_memory_index.codes import kernels
from visual_memory_index.codes.bound import reach
from visual_memory_index.codes.codes import Rotation, encode, to_digits
from visual_memory_index.codes.groups import GROUP
from visual_memory_index.codes.planes import Planes

Floats = NDArray[np.float32]
BASE = 1000  # number of the block's first row


class Kept(NamedTuple):
    """What ``select`` kept, row by row, and the heaps that it left."""

    queries: list[int]
    rows: list[int]
    uppers: Floats
    heaps: Floats


class Scanned:
    """A block of some rows, queries in integers, and the bounds of each query with each row."""

    def __init__(self, rng: np.random.Generator, m: int, d: int, n: int) -> None:
        self.rotation, self.count = Rotation(d), m
        kind, other = rng.choice(sorted(KINDS), 2)
        rows = vectors(rng, m, d, str(kind), self.rotation)
        queries = vectors(rng, n, d, str(other), self.rotation)
        queries[::2] = rows[rng.integers(m, size=len(queries[::2]))]
        planes = Planes(d, -(-m // GROUP) * GROUP)
        planes.append(rows)
        (self.block,) = planes.blocks
        self.digits = to_digits(self.rotation(queries))
        codes = encode(self.rotation(rows))
        self.bounds = [bounds(codes, one_of(self.digits, query)) for query in range(n)]

    def uppers(self, query: int, half: int) -> Floats:
        return self.bounds[query].scores[half] + self.bounds[query].errors[half]

    def lowers(self, query: int) -> Floats:
        return self.bounds[query].scores[1] - self.bounds[query].errors[1]

    def select(
        self,
        k: int,
        floors: Floats | None = None,
        admitted: NDArray[np.uint16] | None = None,
        room: int | None = None,
    ) -> Kept:
        """Scan the block, and again from where there was no more room."""
        n, groups = len(self.digits.steps), -(-self.count // GROUP)
        if admitted is None:
            admitted = np.full(groups, 0xFFFF, np.uint16)
            admitted[-1] = 0xFFFF >> -self.count % GROUP
        padded = np.full(groups * GROUP, -np.inf, np.float32)
        if floors is not None:
            padded[: self.count] = floors
        heaps = np.full((n, k), -np.inf, np.float32)
        room = n * GROUP if room is None else room
        queries, rows, uppers = list[int](), list[int](), list[Floats]()
        start, times = 0, 0
        while start < groups:
            out = np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room, np.float32)
            start, count = kernels.select(
                BASE, *self.block, padded, admitted, start, groups, *self.digits, heaps, *out, 0
            )
            times += 1
            assert times <= groups
            queries += out[0][:count].tolist()
            rows += (out[1][:count] - BASE).tolist()
            uppers.append(out[2][:count])
        return Kept(queries, rows, np.concatenate(uppers), heaps)


@st.composite
def scans(draw: st.DrawFn) -> Scanned:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    m, d = draw(st.integers(1, 70)), draw(st.sampled_from([1, 2, 7, 8, 9, 64, 100]))
    return Scanned(rng, m, d, draw(st.sampled_from([1, 2, 17, 33])))


@settings(max_examples=60)
@given(scans())
def test_without_a_limit_all_rows_are_kept_with_their_bounds(scanned: Scanned) -> None:
    kept = scanned.select(scanned.count + 1)

    n, m = len(scanned.digits.steps), scanned.count
    assert sorted(zip(kept.queries, kept.rows, strict=True)) == [
        (query, row) for query in range(n) for row in range(m)
    ]
    for query, row, upper in zip(kept.queries, kept.rows, kept.uppers, strict=True):
        assert upper == scanned.uppers(query, 1)[row]
    for query in range(n):
        lowers = np.sort(scanned.lowers(query)).tolist()
        assert sorted(kept.heaps[query].tolist()) == [-np.inf, *lowers]


@settings(max_examples=100)
@given(scans(), st.integers(1, 20), st.booleans())
def test_what_is_kept_depends_on_the_kth_lower_bound_so_far(
    scanned: Scanned, k: int, roomy: bool
) -> None:
    kept = scanned.select(k, room=10_000 if roomy else None)

    found = set(zip(kept.queries, kept.rows, strict=True))
    for query in range(len(scanned.digits.steps)):
        margin, lowest = scanned.digits.margins[query], [-np.inf] * k
        half, whole = scanned.uppers(query, 0), scanned.uppers(query, 1)
        lowers = scanned.lowers(query)
        for first in range(0, scanned.count, GROUP):
            needed = np.float32(kernels.reach(np.float32(lowest[0]), margin))
            near = [
                row
                for row in range(first, min(first + GROUP, scanned.count))
                if half[row] >= needed
            ]
            for row in range(first, min(first + GROUP, scanned.count)):
                needed = np.float32(kernels.reach(np.float32(lowest[0]), margin))
                is_kept = row in near and whole[row] >= needed
                assert ((query, row) in found) == is_kept
                if is_kept and lowers[row] > lowest[0]:
                    lowest = sorted([*lowest[1:], float(lowers[row])])
        assert sorted(kept.heaps[query].tolist()) == lowest


@settings(max_examples=60)
@given(scans(), st.data())
def test_a_row_is_kept_at_its_floor_and_not_above_and_only_if_admitted(
    scanned: Scanned, data: st.DataObject
) -> None:
    query = data.draw(st.integers(0, len(scanned.digits.steps) - 1))
    bits = st.lists(st.booleans(), min_size=scanned.count, max_size=scanned.count)
    above, chosen = np.array(data.draw(bits)), np.array(data.draw(bits))
    half, whole = scanned.uppers(query, 0), scanned.uppers(query, 1)
    at = np.minimum(half, whole)
    padded = np.zeros(-(-scanned.count // GROUP) * GROUP, dtype=bool)
    padded[: scanned.count] = chosen
    admitted = np.packbits(padded, bitorder="little").view("<u2")
    floors = np.where(above, np.nextafter(at, np.float32(np.inf)), at)

    kept = scanned.select(scanned.count + 1, floors, admitted)

    pairs = zip(kept.queries, kept.rows, strict=True)
    rows = [row for asked, row in pairs if asked == query]
    assert rows == np.flatnonzero(chosen & ~above).tolist()


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60), st.integers(1, 20))
def test_a_heap_has_the_largest_numbers(numbers: list[float], k: int) -> None:
    heaps = np.full((3, 20), -np.inf, np.float32)
    heaps[:, k:] = np.inf

    for number in numbers:
        if number > heaps[1, 0]:
            kernels.replace_lowest(heaps, 1, np.float32(number))

    wanted = sorted(numbers, reverse=True)[:k]
    assert sorted(heaps[1, :k].tolist(), reverse=True)[: len(wanted)] == pytest.approx(
        wanted, abs=0
    )
    assert heaps[1, 0] == heaps[1].min()
    assert (heaps[0] == heaps[2]).all()


class Disk(Protocol):
    """The fixture ``small_disk``."""

    folder: Path
    fill: Callable[[], None]


def hits(package: Path, cache: Path, **settings: str) -> int:
    """Call a kernel in another process, and return how often it was not compiled for that."""
    program = (
        "import numpy as np; from visual_memory_index.codes import kernels; "
        "assert np.isclose(kernels.reach(np.float32(0.5), np.float32(0.1)), 0.3); "
        "print(sum(kernels.reach.stats.cache_hits.values()))"
    )
    env = os.environ | {"PYTHONPATH": str(package), "NUMBA_CACHE_DIR": str(cache)}
    env |= settings
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_kernel_is_compiled_anew_once_a_part_of_it_changes(tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(Path(visual_memory_index.__file__).parent, package / "visual_memory_index")

    counts = [hits(package, tmp_path / "cache") for _ in range(2)]
    for name in ("groups", "bound"):
        with (package / f"visual_memory_index/codes/{name}.py").open("a") as source:
            source.write("\n# changed\n")
        counts.append(hits(package, tmp_path / "cache"))

    assert counts == [0, 1, 0, 0]


def test_a_kernel_is_kept_where_python_writes_nothing_if_a_folder_is_named(tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(Path(visual_memory_index.__file__).parent, package / "visual_memory_index")
    silent = {"PYTHONDONTWRITEBYTECODE": "1"}

    counts = [hits(package, tmp_path / "cache", **silent) for _ in range(2)]
    without = [hits(package, Path(), NUMBA_CACHE_DIR="", **silent) for _ in range(2)]

    assert (counts, without) == ([0, 1], [0, 0])


@pytest.mark.parametrize("kept", [0, 100])
def test_a_kernel_is_compiled_anew_where_a_power_loss_left_half_a_file(
    tmp_path: Path, kept: int
) -> None:
    package = Path(visual_memory_index.__file__).parents[1]
    assert hits(package, tmp_path) == 0
    for path in tmp_path.rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:kept])

    assert [hits(package, tmp_path) for _ in range(2)] == [0, 1]


def test_a_full_disk_does_not_keep_a_kernel_from_running(small_disk: Disk) -> None:
    package = Path(visual_memory_index.__file__).parents[1]
    small_disk.fill()

    assert hits(package, small_disk.folder) == 0


@given(st.floats(-2, 2, width=32), st.floats(0, 0.5, width=32))
def test_reach_is_that_of_bound(lowest: float, error: float) -> None:
    compiled = kernels.reach(np.float32(lowest), np.float32(error))

    assert compiled == pytest.approx(reach(lowest, error), abs=2.5e-7) or lowest - error + 1 < 2e-7
    assert kernels.reach(np.float32(-np.inf), np.float32(error)) == -np.inf
