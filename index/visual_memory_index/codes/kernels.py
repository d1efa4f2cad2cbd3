"""Loops over codes: which rows could be among the nearest to a query, by the bounds of ``codes``.

Compiled by Numba when they are first called. A scan copies no codes and no vectors: nothing of
these is left in a buffer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from visual_memory_index.codes import bound
from visual_memory_index.codes.groups import (
    CHUNK,
    GROUP,
    MANY,
    ROUNDED,
    in_reach,
    lowest_bit,
    row_sum_for_many,
    row_sum_for_one,
    sums_for_many,
    sums_for_one,
)
from visual_memory_index.rows.compiled import compiled

ENCODED_AT_ONCE = 64  # which stay in a core's cache
LOSS_ERROR = 6e-12  # of ‖r‖² in float64: 3 · 16,384 · 2⁻⁵³, of three sums

reach = compiled(bound.reach)
reached: Any = in_reach  # its first parameter is Numba's own, as that of the next
first_bit: Any = lowest_bit


@compiled
def turn(vectors: Any, signs: Any) -> None:
    """Turn n vectors, float64 (d, n), in place, all at once.

    Each of the ``signs`` float64 (rounds, d) begins a round: the numbers take the signs, and a
    Walsh-Hadamard transform goes over as many dimensions as it can, in turn the first and the last.
    """
    dimension, count = vectors.shape
    width = 1
    while 2 * width <= dimension:
        width *= 2
    scale = 1.0 / np.sqrt(width)
    for number in range(len(signs)):
        start = (dimension - width) * (number % 2)
        for at in range(dimension):
            sign = signs[number, at]
            if start <= at < start + width:
                sign *= scale
            for row in range(count):
                vectors[at, row] *= sign
        half = 1
        while 2 * half < width:  # two steps at once, so that memory is read half as often
            for first in range(start, start + width, 4 * half):
                for at in range(first, first + half):
                    for row in range(count):
                        one, two = vectors[at, row], vectors[at + half, row]
                        three, four = vectors[at + 2 * half, row], vectors[at + 3 * half, row]
                        one, two, three, four = one + two, one - two, three + four, three - four
                        vectors[at, row], vectors[at + half, row] = one + three, two + four
                        vectors[at + 2 * half, row] = one - three
                        vectors[at + 3 * half, row] = two - four
            half *= 4
        if half < width:
            for at in range(start, start + half):
                for row in range(count):
                    one, two = vectors[at, row], vectors[at + half, row]
                    vectors[at, row], vectors[at + half, row] = one + two, one - two


@compiled
def measured(square: float, product: float, kept: float) -> tuple[Any, Any, Any]:
    """Return scale, loss and share, see ``codes.Codes``: loss rounded up, share rounded down.

    They are those of a vector of unit length, given x·x, x·v and v·v. A vector that has no length,
    as in a damaged file, loses all: it is among the candidates of every query.
    """
    scale = product / kept / np.sqrt(square)
    loss = max(1.0 - product * product / (kept * square), 0.0) + LOSS_ERROR
    share = max(loss - 2 * LOSS_ERROR, 0.0)
    share /= 1.0 - share
    if not np.isfinite(scale + loss):
        scale, loss, share = 0.0, np.inf, 0.0
    over, under = np.float32(np.inf), np.float32(-np.inf)
    return (
        np.float32(scale),
        np.nextafter(np.float32(loss), over),
        np.nextafter(np.float32(share), under),
    )


@compiled
def encode(turned: Any, upper: Any, lower: Any, numbers: Any) -> None:
    """Write the codes of n vectors, float64 (d, n), as ``codes.Codes`` has them."""
    dimension, count = turned.shape
    factors, levels = np.zeros(count), np.empty((dimension, count), np.uint8)
    measures = np.zeros((5, count))  # x·x, then x·v and v·v of the upper half and of the whole code
    for at in range(dimension):
        for row in range(count):
            factors[row] = max(factors[row], abs(turned[at, row]))
    for row in range(count):
        factors[row] = 128.0 / factors[row]
    for at in range(dimension):
        for row in range(count):
            number = turned[at, row]
            level: Any = min(max(np.int32(number * factors[row] + 128.0), 0), 255)
            levels[at, row] = level
            high, whole = np.float64(2 * (level >> 4) - 15), np.float64(2 * level - 255)
            measures[0, row] += number * number
            measures[1, row] += number * high
            measures[2, row] += high * high
            measures[3, row] += number * whole
            measures[4, row] += whole * whole
    for row in range(count):
        for half in range(2):
            product, kept = measures[2 * half + 1, row], measures[2 * half + 2, row]
            scale, loss, share = measured(measures[0, row], product, kept)
            numbers[3 * half, row] = scale
            numbers[3 * half + 1, row], numbers[3 * half + 2, row] = loss, share
    upper[:], lower[:] = 0, 0
    for at in range(dimension):
        chunk, place, shift = at >> 3, at & 3, at & 4
        for row in range(count):
            upper[row, chunk, place] |= (levels[at, row] >> 4) << shift
            lower[row, chunk, place] |= (levels[at, row] & 15) << shift


@compiled
def encode_rows(vectors: Any, signs: Any, upper: Any, lower: Any, numbers: Any) -> None:
    """Turn ``vectors``, float32 (n, d), and write their codes, some at a time: see ``encode``.

    All is done in one call, so that other threads need not wait for Python's lock between two.
    """
    count, dimension = vectors.shape
    for start in range(0, count, ENCODED_AT_ONCE):
        end = min(count, start + ENCODED_AT_ONCE)
        turned = np.empty((dimension, end - start))
        for at in range(dimension):
            for row in range(start, end):
                turned[at, row - start] = vectors[row, at]
        turn(turned, signs)
        encode(turned, upper[start:end], lower[start:end], numbers[:, start:end])


@compiled
def round_queries(
    turned: Any,
    most: int,
    digits: Any,
    row_digits: Any,
    totals: Any,
    steps: Any,
    squares: Any,
    errors: Any,
) -> None:
    """Round n queries, float64 (d, n), to integers from −``most`` to ``most`` times a step.

    The integers are written as ``codes.Digits`` has them, into arrays of zeros; with them go their
    ``totals``, and float64 (n,) the ``squares`` of norms and the norms of the ``errors``.
    """
    dimension, count = turned.shape
    parts = row_digits.shape[1]
    for query in range(count):
        largest, square, error = 0.0, 0.0, 0.0
        total = np.int64(0)
        for at in range(dimension):
            largest = max(largest, abs(turned[at, query]))
        steps[query] = largest / most
        step = np.float64(steps[query])
        tile, column = query // MANY, query % MANY
        for at in range(dimension):
            word = min(max(np.rint(turned[at, query] / step), -most), most)
            rounded = word * step
            square += rounded * rounded
            error += (turned[at, query] - rounded) ** 2
            number = np.int64(word)
            total += number
            chunk, place = at >> 3, at & 7
            half, inside = place >> 2, 4 * chunk + (place & 3)
            low = ((number + 128) & 255) - 128
            if parts == 2:
                high = (number - low) >> 8
                digits[0, chunk, 0, place], digits[0, chunk, 1, place] = high, low
                row_digits[query, 0, half, inside], row_digits[query, 1, half, inside] = high, low
            else:
                digits[tile, chunk, column, place] = low
                row_digits[query, 0, half, inside] = low
        totals[query], squares[query], errors[query] = total, square, np.sqrt(error)


@compiled
def put(words: Any, rows: Any, block: Any) -> None:
    """Write codes of ``rows`` into a ``block`` of groups: uint32 (n, m) into (groups, m, 16)."""
    for at in range(len(rows)):
        group, lane = rows[at] // GROUP, rows[at] % GROUP
        for number in range(words.shape[1]):
            block[group, number, lane] = words[at, number]


@compiled
def chosen(heaps: Any, ks: Any, margins: Any, queries: Any, rows: Any, uppers: Any) -> Any:
    """Return the kept rows that could be among the k nearest, by query, and where each query's end.

    The first arrays are the ``heaps`` of all threads side by side, int64 (n,) and float32 (n,), the
    last those of ``plane_scan.Kept``. The ends int64 (n + 1,) begin with a 0.
    """
    needed = np.empty(len(ks), np.float32)
    for query in range(len(ks)):
        lowest = -np.inf
        bounds = heaps[query][heaps[query] < np.inf]
        if len(bounds) >= ks[query]:
            lowest = np.float64(np.sort(bounds)[len(bounds) - ks[query]])
        needed[query] = reach(lowest, np.float64(margins[query]))
    ends = np.zeros(len(ks) + 1, np.int64)
    for at in range(len(rows)):
        ends[queries[at] + 1] += uppers[at] >= needed[queries[at]]
    for query in range(len(ks)):
        ends[query + 1] += ends[query]
    places, found = ends[:-1].copy(), np.empty(ends[-1], np.int64)
    for at in range(len(rows)):
        query = queries[at]
        if uppers[at] >= needed[query]:
            found[places[query]] = rows[at]
            places[query] += 1
    return found, ends


@compiled
def replace_lowest(heaps: Any, query: int, lower: np.float32) -> None:
    """Put ``lower`` in the place of the lowest number of a query's heap."""
    at, child, count = 0, 1, heaps.shape[1]
    while child < count:
        if child + 1 < count and heaps[query, child + 1] < heaps[query, child]:
            child += 1
        if heaps[query, child] >= lower:
            break
        heaps[query, at] = heaps[query, child]
        at, child = child, 2 * child + 1
    heaps[query, at] = lower


@compiled
def select(
    base: int,
    upper_codes: Any,
    lower_codes: Any,
    numbers: Any,
    floors: Any,
    admitted: Any,
    start: int,
    end: int,
    digits: Any,
    row_digits: Any,
    offsets: Any,
    steps: Any,
    squares: Any,
    margins: Any,
    heaps: Any,
    queries: Any,
    rows: Any,
    uppers: Any,
    count: int,
) -> tuple[int, int]:
    """Scan the groups from ``start`` to ``end`` of a block that begins with row ``base``.

    A row is kept for a query if it could be among the k nearest, its bit in ``admitted`` uint16
    (groups,) is set, and its product could be as high as its number in ``floors``, float32 (rows,)
    or (16,) for every group: first by the upper half of its code, then by the whole. The codes and
    their numbers are those of ``planes.Block``, the next arrays those of ``codes.Digits``;
    ``heaps`` and the last three are those of ``plane_scan``, of which ``count`` places are taken.

    Returns the group at which there was no more room to keep rows, or ``end``, and the new count.
    """
    chunks, columns = upper_codes.shape[1], digits.shape[2]
    many = 1 if columns == 2 else columns
    codes_at, codes_step = upper_codes.ctypes.data, upper_codes.strides[0]
    digits_at, digits_step = digits.ctypes.data, digits.strides[0]
    numbers_at, numbers_step = numbers.ctypes.data, numbers.strides[0]
    lower_at, lower_step = lower_codes.ctypes.data, lower_codes.strides[0]
    own_at, own_step = row_digits.ctypes.data, row_digits.strides[0]
    lines = row_digits.shape[3] // CHUNK
    floors_at, floors_step = floors.ctypes.data, 4 * GROUP if len(floors) > GROUP else 0
    sums = np.empty((MANY, GROUP), np.int32)
    sums_at = sums.ctypes.data
    needed = np.empty(len(steps), np.float32)
    for query in range(len(steps)):
        needed[query] = reach(heaps[query, 0], margins[query])
    for group in range(start, end):
        if not admitted[group]:
            continue
        if count + GROUP * len(steps) > len(rows):
            return group, count
        group_at = codes_at + group * codes_step
        for tile in range(len(digits)):
            tile_at = digits_at + tile * digits_step
            if columns == 2:
                sums_for_one(group_at, tile_at, chunks, sums_at)
            else:
                sums_for_many(group_at, tile_at, chunks, sums_at)
            for query in range(tile * many, min(len(steps), (tile + 1) * many)):
                number = query - tile * many
                bits = admitted[group] & reached(
                    sums_at + 4 * GROUP * number,
                    numbers_at + group * numbers_step,
                    offsets[query],
                    steps[query],
                    squares[query],
                    needed[query],
                    floors_at + group * floors_step,
                )
                while bits:
                    lane = first_bit(bits)
                    bits &= bits - 1
                    row = GROUP * group + lane
                    row_at, query_at = lower_at + row * lower_step, own_at + query * own_step
                    if columns == 2:
                        sum = row_sum_for_one(row_at, query_at, lines)
                    else:
                        sum = row_sum_for_many(row_at, query_at, lines)
                    whole = 32 * np.int64(sums[number, lane]) + 2 * np.int64(sum)
                    whole -= 17 * np.int64(offsets[query])
                    score = np.float32(whole) * (steps[query] * numbers[group, 3, lane])
                    left = numbers[group, 4, lane] * (squares[query] + np.float32(ROUNDED))
                    left -= numbers[group, 5, lane] * (score * score)
                    error = np.sqrt(max(left, np.float32(0)))
                    floor = floors[row if floors_step else lane]
                    if score + error >= max(needed[query], floor):
                        queries[count], rows[count] = query, base + row
                        uppers[count] = score + error
                        count += 1
                        if score - error > heaps[query, 0]:
                            replace_lowest(heaps, query, score - error)
                            needed[query] = reach(heaps[query, 0], margins[query])
    return end, count
