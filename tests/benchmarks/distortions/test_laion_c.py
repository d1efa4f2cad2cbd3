from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from visual_memory_benchmarks.distortions import laion_c
from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.picture import Picture

SIDE = 224


@pytest.mark.parametrize("side", [4, 8, 16, 28])
def test_a_mosaic_puts_the_nearest_tile_into_every_cell(
    clean: Picture, bank: Bank, side: int
) -> None:
    seen = laion_c.mosaic(clean, side, bank)
    means = bank.tiles(side).mean((1, 2))
    for top in range(0, SIDE, side):
        for left in range(0, SIDE, side):
            cell = (slice(top, top + side), slice(left, left + side))
            distances = ((means - clean[cell].mean((0, 1))) ** 2).sum(axis=1)
            used = (bank.tiles(side) == seen[cell]).all((1, 2, 3))
            assert used.any()
            assert distances[used].min() == pytest.approx(distances.min(), rel=1e-3, abs=1e-2)


def test_tiles_that_do_not_fit_are_cut_evenly(bank: Bank) -> None:
    flat = np.full((SIDE, SIDE, 3), 90, np.uint8)
    seen = laion_c.mosaic(flat, 6, bank)
    assert seen.shape == flat.shape
    tile = bank.tiles(6)[bank.nearest(6, np.full((1, 3), 90, np.float32))[0]]
    np.testing.assert_array_equal(seen[4:10, 4:10], tile)
    np.testing.assert_array_equal(seen[:4, :4], tile[2:, 2:])
    np.testing.assert_array_equal(seen[-4:, -4:], tile[:4, :4])


def test_a_bank_of_one_covers_everything_with_it() -> None:
    only = Bank([np.random.default_rng(1).integers(0, 256, (50, 50, 3), np.uint8)])
    seen = laion_c.mosaic(np.zeros((SIDE, SIDE, 3), np.uint8), 28, only)
    np.testing.assert_array_equal(seen, np.tile(only.tiles(28)[0], (8, 8, 1)))


def glitched_by_hand(picture: Picture, amount: int) -> Picture:
    """Glitch row by row, in the order of Python's generator."""
    height, width = picture.shape[:2]
    furthest = int(amount**2 / 100 * width)
    result = picture.copy()
    for seed in range(1, 1 + 2 * amount):
        drawn = random.Random(seed)
        offset = drawn.randint(-furthest, furthest)
        if offset == 0:
            continue
        top = drawn.randint(0, height)
        for row in range(top, min(top + drawn.randint(1, height // 4), height)):
            for column in range(width):
                result[row, (column + offset) % width] = picture[row, column]
    drawn = random.Random(1)
    channel = drawn.randint(0, 2)
    across, down = drawn.randint(-2 * amount, 2 * amount), drawn.randint(-2 * amount, 2 * amount)
    for row in range(height):
        for column in range(width):
            place = (column + across) % width if row == 0 else column
            result[(row + down) % height, place, channel] = picture[row, column, channel]
    for row in range(0, height, 2):
        result[row] = 0
    return result


@pytest.mark.parametrize("amount", [2, 4, 5, 8, 10])
@pytest.mark.parametrize("size", [(48, 64), (33, 40)])
def test_a_glitch_rolls_bands_and_a_channel_and_blackens_every_second_row(
    size: tuple[int, int], amount: int, rng: np.random.Generator
) -> None:
    picture = rng.integers(0, 256, (*size, 3), np.uint8)
    np.testing.assert_array_equal(
        laion_c.glitched(picture, amount), glitched_by_hand(picture, amount)
    )


def test_a_stronger_glitch_moves_more_rows(clean: Picture) -> None:
    moved = [
        (laion_c.glitched(clean, amount)[1::2] != clean[1::2]).any(axis=(1, 2)).mean()
        for amount in (2, 10)
    ]
    assert moved[0] <= moved[1]


def painted(picture: Picture, count: int, step: int) -> Picture:
    """Draw stroke by stroke, cell by cell; Pillow cuts fractions of pixels off."""
    canvas = Image.new("RGB", (SIDE, SIDE))
    light = np.asarray(Image.fromarray(picture).convert("L"))
    for number in range(count):
        left = number / count * SIDE
        place: tuple[float, float] = (left, 0)
        columns = slice(int(left), min(int(left + SIDE / count), SIDE))
        for top in range(0, SIDE, step):
            cell = (slice(top, top + step), columns)
            colour = picture[cell].reshape(-1, 3).astype(int).sum(axis=0) // light[cell].size
            goal = (left - 40 * (1 - int(light[cell].mean()) / 255), float(top))
            ImageDraw.Draw(canvas).line((*place, *goal), fill=tuple(colour.tolist()))
            place = goal
    return np.array(canvas)


@pytest.mark.parametrize(("count", "step"), [(224, 8), (178, 16), (112, 4), (60, 8)])
def test_lines_are_painted_stroke_by_stroke(clean: Picture, count: int, step: int) -> None:
    seen = laion_c.vertical_lines(clean, count, step)
    np.testing.assert_array_equal(seen, painted(clean, count, step))


@pytest.mark.parametrize(("count", "step"), [(224, 1), (178, 2), (84, 6), (60, 8)])
def test_lines_through_white_are_straight(count: int, step: int) -> None:
    seen = laion_c.vertical_lines(np.full((SIDE, SIDE, 3), 255, np.uint8), count, step)
    columns = (np.arange(count) / count * SIDE).astype(int)
    last = (SIDE - 1) // step * step
    assert (seen[: last + 1, columns] == 255).all()
    assert (np.delete(seen, columns, axis=1) == 0).all()


@given(st.integers(1, 255))
def test_darker_cells_bend_a_line_further_to_the_left(level: int) -> None:
    seen = laion_c.vertical_lines(np.full((SIDE, SIDE, 3), level, np.uint8), 4, 8)
    place = np.flatnonzero(seen[100, :, 0])
    expected = np.array([56, 112, 168]) - 40 * (1 - level / 255)
    assert place[-3:].tolist() == np.floor(expected + 1e-9).tolist()


def test_triangles_point_down_and_hang_with_squares_and_circles_from_their_place() -> None:
    corners = set()
    for seed in range(200):
        canvas = np.zeros((224, 224, 3), np.uint8)
        canvas = laion_c.geometric_shapes(canvas, 1, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        kind, (x, y) = (
            int(rng.integers(0, 4, 1)[0]),
            rng.integers(0, (224, 224), (1, 2))[0].tolist(),
        )
        size = int(rng.integers(6, 16, 1)[0])
        if kind == 2 or max(x, y) + size > 223:
            continue
        rows, columns = np.nonzero(canvas.any(2))
        assert (rows.min(), columns.min()) == (y, x)
        assert (rows.max(), columns.max()) == (y + size, x + size)
        wide = np.bincount(rows - y)
        if kind == 0:
            assert wide[0] == size + 1
            assert (np.diff(wide) <= 0).all()
        corners.add(kind)
    assert corners == {0, 1, 3}


def test_shapes_of_four_kinds_and_all_sizes_appear_evenly() -> None:
    extents, fills = [], []
    for seed in range(800):
        canvas = np.zeros((128, 128, 3), np.uint8)
        canvas = laion_c.geometric_shapes(canvas, 1, np.random.default_rng(seed))
        rows, columns = np.nonzero(canvas.any(2))
        assert len(np.unique(canvas[rows, columns], axis=0)) == 1  # of one colour
        if min(*rows, *columns) > 0 and max(*rows, *columns) < 127:
            tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
            extents.append(max(tall, wide))
            fills.append(len(rows) / (tall * wide))
    extent, fill = np.array(extents), np.array(fills)
    squares, circles, others = fill == 1, (fill > 0.62) & (fill < 0.95), fill < 0.62
    assert (squares | circles | others).all()
    assert squares.mean() == pytest.approx(0.25, abs=0.06)
    assert circles.mean() == pytest.approx(0.25, abs=0.06)
    for kind in (squares, circles):
        assert set(extent[kind]) == set(range(7, 17))
    stars = others & (extent > 15)  # those of size 9 and more
    assert stars.mean() == pytest.approx(0.25 * 0.7, abs=0.06)
    assert extent.max() <= 2 * 15 / 1.2 + 1


def test_more_shapes_leave_less_of_the_picture(clean: Picture) -> None:
    left = [
        (laion_c.geometric_shapes(clean, count, np.random.default_rng(1)) == clean).all(2).mean()
        for count in (150, 300, 600, 800, 1000)
    ]
    assert left == sorted(left, reverse=True)
    assert left[0] > 0.5
    assert left[-1] < 0.3


@given(st.integers(0, 10**6), st.sampled_from([(16, 16), (32, 50), (224, 224)]))
def test_one_sticker_lies_wholly_inside(bank: Bank, seed: int, size: tuple[int, int]) -> None:
    blank = np.zeros((*size, 3), np.uint8)
    seen = laion_c.stickers(blank, 1, np.random.default_rng(seed), bank)
    rows, columns = np.nonzero(seen.any(2))
    sticker = seen[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert sticker.shape == (16, 16, 3)
    assert (bank.tiles(16) == sticker).all((1, 2, 3)).any()


def test_later_stickers_lie_over_earlier_ones(bank: Bank) -> None:
    seed = 3
    rng = np.random.default_rng(seed)
    count = 400
    chosen = rng.integers(0, len(bank), count)
    tops, lefts = rng.integers(0, SIDE - 15, count), rng.integers(0, SIDE - 15, count)
    expected = np.zeros((SIDE, SIDE, 3), np.uint8)
    for number, top, left in zip(chosen, tops, lefts, strict=True):
        expected[top : top + 16, left : left + 16] = bank.tiles(16)[number]
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    seen = laion_c.stickers(blank, count, np.random.default_rng(seed), bank)
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize(
    ("least", "most"), [(0, 50), (50, 100), (100, 125), (125, 150), (150, 255)]
)
def test_a_checkerboard_lightens_and_darkens_cells_in_turns(
    least: int, most: int, rng: np.random.Generator
) -> None:
    grey = np.full((SIDE, SIDE, 3), 127, np.uint8)
    seen = laion_c.luminance_checkerboard(grey, least, most, rng).astype(int)
    cells = seen.reshape(16, 14, 16, 14, 3)
    assert (cells == cells[:, :1, :, :1, :1]).all()  # one value a cell
    shifts = cells[:, 0, :, 0, 0] - 127
    signs = 1 - 2 * (np.add.outer(np.arange(16), np.arange(16)) % 2)
    assert (shifts * signs >= -1).all()
    clipped = np.isin(cells[:, 0, :, 0, 0], (0, 255))
    inside = np.abs(shifts[~clipped])
    if inside.size:
        assert least - 1 <= inside.min()
        assert inside.max() <= most
    assert len(np.unique(np.abs(inside))) > min(most - least, 127 - least) / 2
