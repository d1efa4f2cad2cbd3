from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_benchmarks.distortions import Bank, Picture, laion_c
from visual_memory_benchmarks.distortions.laion_c import Lines, Shift

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


@pytest.mark.parametrize("amount", [2, 4, 5, 8, 10])
def test_a_glitch_rolls_bands_of_the_original_and_blackens_every_second_row(
    clean: Picture, amount: int
) -> None:
    seen = laion_c.glitched(clean, amount)
    assert (seen[::2] == 0).all()
    furthest = amount**2 * SIDE // 100
    offsets = range(-furthest, furthest + 1)
    rolled = np.stack([np.roll(clean, offset, axis=1) for offset in offsets])
    fits = [(rolled[:, 1::2, :, channel] == seen[1::2, :, channel]).all(2) for channel in range(3)]
    banded = [fit.any(0).all() for fit in fits]
    assert banded.count(True) == 2
    other = banded.index(False)
    downs = range(-2 * amount, 2 * amount + 1)
    assert any(
        (np.roll(clean[..., other], down, axis=0)[1::2] == seen[1::2, :, other]).all()
        for down in downs
    )
    first, second = (fit for at, fit in enumerate(fits) if at != other)
    assert (first & second).any(0).all()  # both channels of a row go the same way


def test_a_stronger_glitch_moves_more_rows(clean: Picture) -> None:
    moved = [
        (laion_c.glitched(clean, amount)[1::2] != clean[1::2]).any(axis=(1, 2)).mean()
        for amount in (2, 10)
    ]
    assert moved[0] <= moved[1]


def painted(picture: Picture, lines: Lines) -> Picture:
    """The strokes one after another, pixel by pixel."""
    canvas = np.zeros_like(picture)
    for number in range(lines.columns):
        left = number * SIDE // lines.columns
        place = (0, left)
        for top in range(0, SIDE, lines.step):
            cell = picture[top : top + lines.step, left : left + SIDE // lines.columns]
            colour = cell.reshape(-1, 3).mean(axis=0).astype(np.uint8)
            light = colour.astype(np.float64) @ [0.2125, 0.7154, 0.0721] / 255
            goal = (top, round(left - 40 * (1 - light)))
            steps = max(abs(goal[0] - place[0]), abs(goal[1] - place[1]))
            for step in range(steps + 1):
                part = step / max(steps, 1)
                row = place[0] + round(part * (goal[0] - place[0]))
                column = place[1] + round(part * (goal[1] - place[1]))
                if column >= 0:
                    canvas[row, column] = colour
            place = goal
    return canvas


@pytest.mark.parametrize("lines", [Lines(224, 1), Lines(112, 4), Lines(60, 8)])
def test_lines_are_painted_stroke_by_stroke(clean: Picture, lines: Lines) -> None:
    same = (laion_c.vertical_lines(clean, lines) == painted(clean, lines)).all(2)
    assert same.mean() > 0.999


@pytest.mark.parametrize("lines", [Lines(224, 1), Lines(178, 2), Lines(84, 6), Lines(60, 8)])
def test_lines_through_white_are_straight(lines: Lines) -> None:
    seen = laion_c.vertical_lines(np.full((SIDE, SIDE, 3), 255, np.uint8), lines)
    columns = np.arange(lines.columns) * SIDE // lines.columns
    last = (SIDE - 1) // lines.step * lines.step
    assert (seen[: last + 1, columns] == 255).all()
    assert (np.delete(seen, columns, axis=1) == 0).all()


@given(st.integers(1, 255))
def test_darker_cells_bend_a_line_further_to_the_left(level: int) -> None:
    seen = laion_c.vertical_lines(np.full((SIDE, SIDE, 3), level, np.uint8), Lines(4, 8))
    place = np.flatnonzero(seen[100, :, 0])
    expected = np.array([56, 112, 168]) - 40 * (1 - level / 255)
    np.testing.assert_allclose(place[-3:], expected, atol=0.5 + 1e-3)


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
        assert set(extent[kind]) == set(range(6, 16))
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
    seen = laion_c.luminance_checkerboard(grey, Shift(least, most), rng).astype(int)
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
