"""Banks of thumbnails that cover or replace parts of a picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visual_memory_benchmarks.distortions.picture import Picture
from visual_memory_benchmarks.errors import CannotDistort

SIDES = (4, 6, 8, 16, 28)
_AT_ONCE = 1 << 22  # distances


class Bank:
    """Square thumbnails of pictures that are not in the tested memory, at each side of ``SIDES``.

    The published banks had 100,000 photographs or more: a result with another bank cannot be
    compared with published rows.
    """

    def __init__(self, pictures: Iterable[Picture]) -> None:
        thumbnails = [[_thumbnail(picture, side) for side in SIDES] for picture in pictures]
        if not thumbnails:
            raise CannotDistort("A bank needs at least one picture.")
        self._tiles = {
            side: np.stack(of)
            for side, of in zip(SIDES, zip(*thumbnails, strict=True), strict=True)
        }
        self._colours = {
            side: tiles.mean((1, 2), np.float32) for side, tiles in self._tiles.items()
        }

    def __len__(self) -> int:
        return len(self._tiles[SIDES[0]])

    def tiles(self, side: int) -> NDArray[np.uint8]:
        """Return all thumbnails of one side, n × side × side × 3."""
        return self._tiles[side]

    def nearest(self, side: int, colours: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the number of the thumbnail nearest in mean colour to each colour (m, 3): (m,).

        Thumbnails are those of ``side`` pixels. Of equally near ones the first is returned. The
        time is proportional to the size of the bank.
        """
        means = self._colours[side]
        step = max(1, _AT_ONCE // len(means))
        parts = [
            np.argmin(_distances(colours[start : start + step], means), axis=1)
            for start in range(0, len(colours), step)
        ]
        return np.concatenate(parts)


def _distances(some: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared distances between two lists of colours: (len(some), len(others))."""
    red, green, blue = (np.subtract.outer(some[:, at], others[:, at]) ** 2 for at in range(3))
    distances: NDArray[np.float32] = red + green + blue
    return distances


def _thumbnail(picture: Picture, side: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    square = min(height, width)
    left, top = (width - square) / 2, (height - square) / 2
    box = (left, top, left + square, top + square)
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.BOX, box=box)
    return np.asarray(image)
