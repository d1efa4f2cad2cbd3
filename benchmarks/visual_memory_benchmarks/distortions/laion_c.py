"""LAION-C (Li et al. 2025): six distortions that no network has met in its training.

The published pictures were stored as JPEG of quality 100; here they are not compressed.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.picture import Picture

STICKER_SIDE = 16
CELL_SIDE = 14
BEND = 40  # pixels to the left that black bends a line
GLITCH_SEED = 1
SIZES = (6, 15)  # of geometric shapes


def mosaic(picture: Picture, side: int, bank: Bank) -> Picture:
    """Replace each square of ``side`` pixels by the bank's thumbnail of nearest mean colour.

    Squares at borders are cut.
    """
    height, width = picture.shape[:2]
    margins = [(extra // 2, extra - extra // 2) for extra in (-height % side, -width % side)]
    padded = np.pad(picture, [*margins, (0, 0)], mode="edge")
    rows, columns = padded.shape[0] // side, padded.shape[1] // side
    cells = padded.reshape(rows, side, columns, side, 3).mean((1, 3), np.float32)
    tiles = bank.tiles(side)[bank.nearest(side, cells.reshape(-1, 3))]
    whole = tiles.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(padded.shape)
    (top, _), (left, _) = margins
    return np.ascontiguousarray(whole[top : top + height, left : left + width])


def glitched(picture: Picture, amount: int) -> Picture:
    """Roll 2 · ``amount`` bands sideways and one channel down, and blacken every second row.

    Shifts are larger with ``amount``. As published, Python's generator draws from fixed seeds, so
    all pictures of one size are glitched alike, and draws no place for a band that would not move.
    """
    height, width = picture.shape[:2]
    furthest = int(amount**2 / 100 * width)
    result = picture.copy()
    for iteration in range(2 * amount):
        drawn = random.Random(GLITCH_SEED + iteration)
        if offset := drawn.randint(-furthest, furthest):
            top, tall = drawn.randint(0, height), drawn.randint(1, height // 4)
            result[top : top + tall] = np.roll(picture[top : top + tall], offset, axis=1)
    drawn = random.Random(GLITCH_SEED)
    channel = drawn.randint(0, 2)
    across, down = (drawn.randint(-2 * amount, 2 * amount) for _ in range(2))
    rolled = np.roll(picture[..., channel], down, axis=0)
    first = down % height  # where row 0 went, which alone is rolled across
    rolled[first] = np.roll(rolled[first], across)
    result[..., channel] = rolled
    result[::2] = 0
    return result


def vertical_lines(picture: Picture, columns: int, step: int) -> Picture:
    """Draw ``columns`` lines on black in the picture's colours, bent left where it is dark.

    Lines are drawn from the left, in strokes of ``step`` pixels; later strokes cover earlier ones.
    """
    height, width = picture.shape[:2]
    lefts = np.arange(columns) / columns * width
    cells = _cell_means(picture, step, lefts)
    bends = lefts - BEND * (1 - cells[..., 3] / 255)
    canvas = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(canvas)
    tops = range(0, height, step)
    for left, ends, colours in zip(
        lefts.tolist(),
        bends.T.tolist(),
        cells[..., :3].swapaxes(0, 1).tolist(),
        strict=True,
    ):
        begin = (left, 0)
        for top, end, colour in zip(tops, ends, colours, strict=True):
            draw.line((*begin, end, top), fill=tuple(colour))
            begin = (end, top)
    return np.array(canvas)


def _cell_means(picture: Picture, step: int, lefts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the means of R, G, B and Pillow's grey in each cell, rounded down: (rows, columns, 4).

    Cells are ``step`` pixels high; column j begins at ``lefts[j]``. If a picture has fewer pixels
    across than columns, cells without a pixel are black.
    """
    height, width = picture.shape[:2]
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., np.newaxis]
    values = np.concatenate([picture, grey], axis=2).astype(np.int64)
    starts = np.arange(0, height, step)
    rows = np.add.reduceat(values, starts, axis=0)
    tall = np.diff(np.append(starts, height))[:, np.newaxis, np.newaxis]
    summed = np.pad(rows.cumsum(axis=1), [(0, 0), (1, 0), (0, 0)])
    first = lefts.astype(np.int64)
    last = np.minimum((lefts + width / len(lefts)).astype(np.int64), width)
    wide = (last - first)[:, np.newaxis]
    means: NDArray[np.int64] = (summed[:, last] - summed[:, first]) // np.maximum(tall * wide, 1)
    return means


def geometric_shapes(picture: Picture, count: int, rng: np.random.Generator) -> Picture:
    """Draw ``count`` triangles, squares, stars and circles of random place, size and colour.

    Triangles point down. The place is the centre of a star, but the upper left of other shapes.
    """
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    drawn = zip(
        rng.integers(0, 4, count).tolist(),
        rng.integers(0, (width, height), (count, 2)).tolist(),
        rng.integers(SIZES[0], SIZES[1] + 1, count).tolist(),
        rng.integers(0, 256, (count, 3)).tolist(),
        rng.integers(0, 360, count).tolist(),
        strict=True,
    )
    for kind, (x, y), size, colour, degrees in drawn:
        box = (x, y, x + size, y + size)  # Pillow draws the last row and column, too
        match kind:
            case 0:
                corners = [(x, y), (x + size, y), (x + size / 2, y + size)]
                draw.polygon(corners, fill=tuple(colour))
            case 1:
                draw.rectangle(box, fill=tuple(colour))
            case 2:
                corners = [(x + a, y + b) for a, b in _star(size / 1.2, degrees)]
                draw.polygon(corners, fill=tuple(colour))
            case _:
                draw.ellipse(box, fill=tuple(colour))
    return np.array(image)


def _star(radius: float, degrees: float) -> list[tuple[float, float]]:
    """Return the ten corners (x, y) of a star around 0, turned by ``degrees``.

    Five points are at ``radius``; the corners between them are at half of it.
    """
    radii = np.where(np.arange(10) % 2, radius / 2, radius)
    angles = np.deg2rad(degrees + 36 * np.arange(10))
    return list(zip(radii * np.sin(angles), radii * np.cos(angles), strict=True))


def stickers(picture: Picture, count: int, rng: np.random.Generator, bank: Bank) -> Picture:
    """Paste ``count`` random thumbnails of 16 × 16 from the bank at random places."""
    height, width = picture.shape[:2]
    side = np.arange(STICKER_SIDE)
    chosen = rng.integers(0, len(bank), count)
    tops = rng.integers(0, height - STICKER_SIDE + 1, count)
    lefts = rng.integers(0, width - STICKER_SIDE + 1, count)
    result = picture.copy()
    rows = tops[:, np.newaxis, np.newaxis] + side[:, np.newaxis]
    columns = lefts[:, np.newaxis, np.newaxis] + side
    result[rows, columns] = bank.tiles(STICKER_SIDE)[chosen]
    return result


def luminance_checkerboard(
    picture: Picture, least: int, most: int, rng: np.random.Generator
) -> Picture:
    """Make cells of 14 × 14 pixels alternately lighter and darker.

    The change of each cell is drawn from ``least`` to ``most``, in levels of 255.
    """
    height, width = picture.shape[:2]
    rows, columns = -(-height // CELL_SIDE), -(-width // CELL_SIDE)
    signs = 1 - 2 * (np.add.outer(np.arange(rows), np.arange(columns)) % 2)
    cells = signs * rng.uniform(least, most, (rows, columns))
    whole = np.kron(cells, np.ones((CELL_SIDE, CELL_SIDE)))[:height, :width, np.newaxis]
    return np.clip(picture + whole, 0, 255).astype(np.uint8)
