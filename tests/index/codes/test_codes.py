"""Codes depend on their own vector alone, and no product strays beyond their bounds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.index.codes.pairs import KINDS, pairs, turned_back, vectors
from tests.index.codes.replica import bounds, columns_of, unpacked, words_of

from visual_memory_index import unit_rows
from visual_memory_index.codes.codes import (
    LEVEL_MAX,
    MARGIN,
    SUM_MAX,
    Digits,
    Rotation,
    chunks_of,
    encode,
    to_digits,
)

DIMENSIONS = [1, 2, 3, 5, 7, 8, 9, 16, 31, 64, 127, 768, 1280, 1281, 4096, 16384]
CASES = int(os.environ.get("BOUNDS", "12000"))  # pairs whose bounds are compared, at least
NUMBERS_AT_ONCE = 1 << 16
CLIMBS = 4  # mutations of a pair, one after the other
CLOSEST = 12  # pairs that are computed in rational numbers
REACH_ROUNDING = 2.5e-7  # of the float32 numbers that ``bound.reach`` subtracts and is stored in
SUM_ROUNDING = 1e-11  # of a float64 sum of 16,384 products of unit vectors, at most 2e-12


@cache
def rotation_of(d: int) -> Rotation:
    return Rotation(d)


@st.composite
def units(draw: st.DrawFn) -> NDArray[np.float32]:
    """Draw unit vectors that are hard to code."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    d = draw(st.sampled_from([d for d in DIMENSIONS if d <= 1281]))
    kind = draw(st.sampled_from(sorted(KINDS)))
    return vectors(rng, draw(st.integers(1, 12)), d, kind, rotation_of(d))


def test_a_rotation_is_three_times_signs_and_a_walsh_hadamard_transform() -> None:
    for d in (1, 2, 3, 8, 31, 127):
        bits = np.frombuffer(hashlib.shake_256(b"visual memory").digest(3 * d), np.uint8) & 1
        width = 2 ** int(np.log2(d))
        walsh = [[(-1) ** (at & row).bit_count() for at in range(width)] for row in range(width)]
        matrix = np.eye(d)
        for number, signs in enumerate(np.where(bits, 1, -1).reshape(3, d)):
            part, step = slice(d - width, d) if number == 1 else slice(width), np.eye(d)
            step[part, part] = np.array(walsh) / np.sqrt(width)
            matrix = step @ (signs[:, np.newaxis] * matrix)

        turned = Rotation(d)(np.eye(d, dtype=np.float32))

        assert np.abs(turned - matrix).max() < 1e-13


@pytest.mark.parametrize("d", DIMENSIONS)
def test_a_rotation_keeps_all_products(d: int) -> None:
    rng = np.random.default_rng(d)
    rows = np.concatenate([vectors(rng, 4, d, kind, rotation_of(d)) for kind in KINDS])
    wide = rows.astype(np.float64)

    turned = rotation_of(d)(rows).T

    assert np.abs(turned @ turned.T - wide @ wide.T).max() < 1e-12
    assert np.abs(turned_back(rotation_of(d), turned) - wide).max() < 1e-12


@pytest.mark.parametrize("d", DIMENSIONS)
def test_a_code_depends_on_its_own_vector_alone(d: int) -> None:
    rng = np.random.default_rng(d)
    rows = np.concatenate([vectors(rng, 3, d, kind, rotation_of(d)) for kind in KINDS])

    together = rotation_of(d)(rows)
    codes = encode(together)

    alone = [rotation_of(d)(row[np.newaxis]) for row in rows]
    assert together.tobytes() == np.concatenate(alone, axis=1).tobytes()
    ones = [encode(each) for each in alone]
    assert codes.upper.tobytes() == np.concatenate([each.upper for each in ones]).tobytes()
    assert codes.lower.tobytes() == np.concatenate([each.lower for each in ones]).tobytes()
    numbers = np.concatenate([each.numbers for each in ones], axis=1)
    assert codes.numbers.tobytes() == numbers.tobytes()


@settings(max_examples=100)
@given(units())
def test_two_halves_are_the_nearest_odd_number_and_so_is_the_upper(
    rows: NDArray[np.float32],
) -> None:
    n, d = rows.shape
    turned = rotation_of(d)(rows)

    codes = encode(turned)

    assert codes.upper.shape == codes.lower.shape == (n, chunks_of(d), 4)
    assert codes.numbers.shape == (6, n)
    assert codes.numbers.dtype == np.float32
    upper, lower = (2 * unpacked(each) - 15 for each in (codes.upper, codes.lower))
    assert not (upper[:, d:] + 15).any()
    assert not (lower[:, d:] + 15).any()
    shares = (turned / np.abs(turned).max(axis=0)).T
    assert np.abs(16 * shares - upper[:, :d]).max() <= 1 + 1e-12
    assert np.abs(256 * shares - (16 * upper + lower)[:, :d]).max() <= 1 + 1e-12


def check_losses(turned: NDArray[np.float64]) -> None:
    """Compare losses and shares with rational numbers: neither is on the wrong side."""
    d, codes = len(turned), encode(turned)
    upper = 2 * unpacked(codes.upper)[:, :d] - 15
    whole = 16 * upper + 2 * unpacked(codes.lower)[:, :d] - 15
    for row, vector in enumerate(turned.T.tolist()):
        square = sum(Fraction(x) ** 2 for x in vector)
        for half, code in enumerate((upper[row].tolist(), whole[row].tolist())):
            product = sum(Fraction(x) * v for x, v in zip(vector, code, strict=True))
            kept = product**2 / (square * sum(v * v for v in code))
            scale, loss, share = map(Fraction, codes.numbers[3 * half : 3 * half + 3, row].tolist())
            assert 1 - kept <= loss <= (1 - kept) * (1 + Fraction(2**-21)) + Fraction(2e-11)
            assert share * kept <= 1 - kept
            assert (share + Fraction(1e-9)) * kept * (1 + Fraction(2**-21)) >= 1 - kept
            assert scale**2 * sum(v * v for v in code) == pytest.approx(float(kept), rel=1e-6)


@settings(max_examples=60)
@given(units())
def test_losses_are_no_less_and_shares_no_more_than_they_are_in_rational_numbers(
    rows: NDArray[np.float32],
) -> None:
    check_losses(rotation_of(rows.shape[1])(rows[:2]))


def test_nor_are_they_where_many_equal_numbers_are_added() -> None:
    """One after the other, they would all be rounded to the same side."""
    turned = np.ones((16383, 2))
    turned[:4] -= 6e-5
    turned[:, 1] *= 1.1
    check_losses(turned)


@settings(max_examples=60)
@given(units(), st.booleans())
def test_queries_are_integers_with_an_error_that_their_margins_state(
    rows: NDArray[np.float32], single: bool
) -> None:
    n, d = (1 if single else len(rows)), rows.shape[1]
    turned = rotation_of(d)(rows[:n])

    digits = to_digits(turned)

    words = words_of(digits)
    assert (LEVEL_MAX * np.abs(words).sum(axis=1) <= SUM_MAX).all()
    assert digits.offsets.tolist() == (LEVEL_MAX * words.sum(axis=1)).tolist()
    columns = columns_of(digits)
    if n == 1:
        assert columns.shape[1] == 2
        assert (256 * columns[0, 0] + columns[0, 1]).tolist() == words[0].tolist()
    else:
        flat = columns.reshape(-1, columns.shape[-1])
        assert flat[:n].tolist() == words.tolist()
        assert not flat[n:].any()
    for vector, word, step, square, margin in zip(
        turned.T.tolist(), words.tolist(), *map(np.ndarray.tolist, digits[3:]), strict=True
    ):
        step = Fraction(step)
        rest = sum((Fraction(x) - w * step) ** 2 for x, w in zip(vector, word[:d], strict=True))
        assert rest <= (Fraction(margin) - Fraction(MARGIN) + Fraction(1e-14)) ** 2
        assert float(sum(w * w for w in word) * step**2) == pytest.approx(square, rel=1.2e-7)
        assert margin < MARGIN + 0.01 or n > 1


def test_the_largest_sums_fit_in_32_bits() -> None:
    for d in (4096, 16383, 16384):
        turned = np.full((d, 1), d**-0.5)
        for digits in (to_digits(turned), to_digits(-turned), to_digits(np.repeat(turned, 2, 1))):
            words = words_of(digits)
            assert (15 * np.abs(words).sum(axis=1) <= SUM_MAX).all()
            assert np.abs(words).max() >= 127


class Found(NamedTuple):
    """The slack of a bound, in float64, and all that it is computed from."""

    slack: float
    query: NDArray[np.float32]
    row: NDArray[np.float32]
    score: float
    error: float
    margin: float

    def exact_slack(self) -> Fraction:
        """Return the slack in rational numbers."""
        pair = zip(self.query.tolist(), self.row.tolist(), strict=True)
        product = sum((Fraction(q) * Fraction(x) for q, x in pair), Fraction(0))
        upper, lower = (np.float32(self.score) + sign * np.float32(self.error) for sign in (1, -1))
        margin = Fraction(self.margin)
        return min(Fraction(float(upper)) - product, product - Fraction(float(lower))) + margin


def digits_alone(turned: NDArray[np.float64]) -> Digits:
    """Return queries as if each were asked alone, in 16 bits."""
    each = [to_digits(one[:, np.newaxis]) for one in turned.T]
    return Digits(*(np.concatenate(parts) for parts in zip(*each, strict=True)))


def compare(
    queries: NDArray[np.float32], rows: NDArray[np.float32], single: bool
) -> tuple[NDArray[np.float64], Iterator[Found]]:
    """Return the largest share of its bound that each pair's error takes, and the slacks found."""
    rotation = rotation_of(rows.shape[1])
    turned = rotation(queries)
    digits = digits_alone(turned) if single else to_digits(turned)
    codes = encode(rotation(rows))
    assert np.isfinite(codes.numbers).all()
    products = np.einsum("ij,ij->i", queries.astype(np.float64), rows.astype(np.float64))
    found = bounds(codes, digits)
    margins = digits.margins.astype(np.float64)
    slacks, shares = [], []
    for scores, errors in zip(*found, strict=True):
        assert np.isfinite(scores).all()
        above = (scores + errors).astype(np.float64) - products
        below = products - (scores - errors).astype(np.float64)
        slacks.append(np.minimum(above, below) + margins)
        shares.append(np.abs(products - scores) / (errors + margins))

    def closest() -> Iterator[Found]:
        for half, slack in enumerate(slacks):
            at = int(slack.argmin())
            score, error = (float(each[half][at]) for each in found)
            margin = float(digits.margins[at])
            yield Found(float(slack[at]), queries[at], rows[at], score, error, margin)

    return np.maximum(*shares), closest()


def mutated(rng: np.random.Generator, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return unit vectors, each with some numbers changed by a little or by much."""
    n, d = values.shape
    changed = rng.random((n, d)) < rng.choice([1 / d, 0.1, 1], (n, 1))
    by = 10.0 ** rng.uniform(-7, 0, (n, 1)) * rng.standard_normal((n, d)) / np.sqrt(d)
    new = unit_rows((values + changed * by).astype(np.float32))
    kept = np.isfinite(new).all(axis=1) & rng.choice([True, True, False], n)
    return np.where(kept[:, np.newaxis], new, values)


def test_no_product_strays_beyond_its_bound_by_either_half_of_a_code() -> None:
    """Of all pairs in float64, far more exactly than slacks; of the closest in rational numbers.

    From one pair to the next, the share of its bound that an error takes only grows.
    """
    rng = np.random.default_rng(int(os.environ.get("BOUNDS_SEED", "0")))
    done, closest = 0, list[Found]()
    while done < CASES:
        for d in DIMENSIONS:
            rotation = rotation_of(d)
            kind, single = str(rng.choice(sorted(KINDS))), bool(rng.random() < 0.5)
            n = int(np.clip(NUMBERS_AT_ONCE // d, 4, 256))
            queries, rows = pairs(rng, n, d, kind, rotation)
            shares, found = compare(queries, rows, single)
            closest += found
            for _ in range(CLIMBS):
                others = mutated(rng, queries), mutated(rng, rows)
                other_shares, found = compare(*others, single)
                closest += found
                better = (other_shares > shares)[:, np.newaxis]
                queries = np.where(better, others[0], queries)
                rows = np.where(better, others[1], rows)
                shares = np.maximum(shares, other_shares)
            done += (CLIMBS + 1) * n
            closest = sorted(closest, key=lambda each: each.slack)[:CLOSEST]

    exact = [each.exact_slack() for each in closest]

    for each, slack in zip(closest, exact, strict=True):
        assert abs(Fraction(each.slack) - slack) < SUM_ROUNDING
    print(f"{done} pairs, least slack {float(min(exact)):.4g}: {closest[exact.index(min(exact))]}")
    assert min(exact) >= REACH_ROUNDING
    assert CASES < 10_000 or min(exact) < 5 * MARGIN  # or the pairs came nowhere near
