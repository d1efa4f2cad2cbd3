"""Compares the instructions of ``groups`` with NumPy's integers and float32: run as a program.

The instructions are chosen when Numba is imported, so each kind needs a process of its own. Prints
which they were, and a hash of all that they computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from tests.index.codes.replica import bound

from visual_memory_index.codes import groups
from visual_memory_index.codes.groups import CHUNK, DIMENSIONS, GROUP, MANY

CHUNKS = (1, 2, 3, 8, 13, 160, 2048)
ROUNDS = 6  # of random numbers
reached: Any = groups.in_reach
for_one, for_many = groups.sums_for_one, groups.sums_for_many
of_row_one, of_row_many = groups.row_sum_for_one, groups.row_sum_for_many


@numba.njit
def sum_one(codes: Any, digits: Any, sums: Any) -> None:
    for_one(codes.ctypes.data, digits.ctypes.data, digits.shape[0], sums.ctypes.data)


@numba.njit
def sum_many(codes: Any, digits: Any, sums: Any) -> None:
    for_many(codes.ctypes.data, digits.ctypes.data, digits.shape[0], sums.ctypes.data)


@numba.njit
def sum_row_one(codes: Any, digits: Any) -> int:
    return of_row_one(codes.ctypes.data, digits.ctypes.data, digits.shape[2] // CHUNK)


@numba.njit
def sum_row_many(codes: Any, digits: Any) -> int:
    return of_row_many(codes.ctypes.data, digits.ctypes.data, digits.shape[2] // CHUNK)


@numba.njit
def reach(
    sums: Any, numbers: Any, offset: Any, step: Any, square: Any, needed: Any, floors: Any
) -> int:
    return int(
        reached(
            sums.ctypes.data,
            numbers.ctypes.data,
            offset,
            step,
            square,
            needed,
            floors.ctypes.data,
        )
    )


def codes_and_digits(columns: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int8]]]:
    """Yield codes (chunks, 16, 4) with digits (chunks, columns, 8): random, sparse, extreme."""
    rng = np.random.default_rng(columns)
    for chunks in CHUNKS:
        for _ in range(ROUNDS):
            codes = rng.integers(0, 256, (chunks, GROUP, 4), np.uint8)
            digits = rng.integers(-128, 128, (chunks, columns, DIMENSIONS), np.int8)
            yield codes, digits
            yield codes, np.where(rng.random(digits.shape) < 0.01, digits, 0).astype(np.int8)
            for digit in (-128, -127, 127):
                full = np.full_like(digits, digit)
                yield np.full_like(codes, 255), full
                yield codes, rng.choice([-1, 1], digits.shape).astype(np.int8) * full
    for place in range(8 * GROUP):  # each number of a group by itself
        alone = np.zeros((1, GROUP, 4), np.uint8)
        alone.reshape(-1)[place // 2] = 15 << 4 * (place % 2)
        yield alone, rng.integers(-128, 128, (1, columns, DIMENSIONS), np.int8)


def expected_sums(codes: NDArray[np.uint8], digits: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the sums of each column: (columns, 16)."""
    numbers = np.concatenate([codes & 15, codes >> 4], axis=2).astype(np.int64)
    sums: NDArray[np.int64] = np.einsum("cgd,cqd->qg", numbers, digits.astype(np.int64))
    return sums


def compare_sums(seen: Any) -> None:
    for columns, function in ((2, sum_one), (MANY, sum_many)):
        for codes, digits in codes_and_digits(columns):
            wanted = expected_sums(codes, digits)
            if columns == 2:
                wanted = 256 * wanted[:1] + wanted[1:]
            room = np.concatenate([codes.reshape(-1, CHUNK), np.full((4, CHUNK), 255, np.uint8)])
            sums = np.full((len(wanted) + 1, GROUP), -7, np.int32)
            function(room, digits, sums)
            assert (sums[-1] == -7).all(), "sums were written beyond their place"
            assert sums[:-1].tolist() == wanted.astype(np.int32).tolist(), (columns, digits.shape)
            seen.update(sums.tobytes())


def compare_row_sums(seen: Any) -> None:
    """A row's codes are followed by others, which the digits' zeros leave out."""
    for columns, function in ((2, sum_row_one), (1, sum_row_many)):
        for codes, digits in codes_and_digits(columns):
            chunks = len(codes)
            room = -(-4 * chunks // CHUNK) * CHUNK
            row_digits = np.zeros((columns, 2, room), np.int8)
            halves = digits.reshape(chunks, columns, 2, 4).transpose(1, 2, 0, 3)
            row_digits[..., : 4 * chunks] = halves.reshape(columns, 2, -1)
            wanted = expected_sums(codes, digits)
            for row in range(GROUP):
                sums = wanted[:, row].tolist()
                full = np.full(room, 255, np.uint8)
                full[: 4 * chunks] = codes[:, row].reshape(-1)
                sum = np.array(sums[0] if columns == 1 else 256 * sums[0] + sums[1])
                found = function(full, row_digits)
                assert found == sum.astype(np.int32), (columns, digits.shape, row)
                seen.update(found.to_bytes(4, "little", signed=True))


def compare_reach(seen: Any) -> None:
    """At each row's own upper bound the row is in reach, and above it is not."""
    rng = np.random.default_rng(0)
    for number in range(100):
        scale, step = 10 ** rng.uniform(-5, 0), np.float32(10 ** rng.uniform(-6, -2))
        sums = (rng.integers(-(2**31), 2**31, GROUP) >> rng.integers(0, 24)).astype(np.int32)
        offset = np.int32(np.clip(2 * int(sums[0]), -(2**31), 2**31 - 1) if number % 2 else 0)
        numbers = np.zeros((6, GROUP), np.float32)
        numbers[0] = scale * rng.random(GROUP)
        numbers[1] = rng.random(GROUP) * rng.choice([1e-13, 1e-3, 1])
        numbers[2] = numbers[1] * rng.random(GROUP) * rng.choice([-1e-40, 1, 90])
        square = np.float32(rng.uniform(0.9, 2))
        whole = (2 * sums.astype(np.int64) - int(offset)).astype(np.int32).astype(np.int64)
        scores, errors = bound(whole, np.full(GROUP, step), np.full(GROUP, square), numbers[:3])
        uppers, least = scores + errors, np.full(GROUP, -np.inf, np.float32)
        given = sums, numbers, offset, step, square
        for lane, upper in enumerate(uppers):
            wanted = sum(1 << other for other in range(GROUP) if uppers[other] >= upper)
            assert reach(*given, upper, least) == wanted
            floors = np.where(np.arange(GROUP) == lane, np.inf, uppers).astype(np.float32)
            assert reach(*given, np.float32(-np.inf), floors) == 0xFFFF & ~(1 << lane)
            higher = np.nextafter(upper, np.float32(np.inf))
            assert not reach(*given, higher, least) >> lane & 1
            floors[:] = np.where(np.arange(GROUP) == lane, higher, uppers)
            assert reach(*given, np.float32(-np.inf), floors) == 0xFFFF & ~(1 << lane)
            assert reach(*given, uppers.max(), floors) == wanted_top(uppers, lane)
        seen.update(uppers.tobytes())


def wanted_top(uppers: NDArray[np.float32], lane: int) -> int:
    """Return the bits of the rows with the highest upper bound, but for ``lane``."""
    return sum(1 << row for row in range(GROUP) if uppers[row] == uppers.max() and row != lane)


if __name__ == "__main__":
    computed = hashlib.sha256()
    compare_sums(computed)
    compare_row_sums(computed)
    compare_reach(computed)
    print(groups.INSTRUCTIONS, computed.hexdigest())
