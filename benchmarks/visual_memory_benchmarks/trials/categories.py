"""The 16 categories that people and machines choose from, as sets of ImageNet's 1000 classes."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

NO_ANSWER = "na"
CLASSES = 1000  # of ImageNet, ILSVRC-2012, ordered by WNID and counted from 0


def _indices(*ranges: int | tuple[int, int]) -> tuple[int, ...]:
    """Join single indices and inclusive ranges to one tuple."""
    pairs = [(each, each) if isinstance(each, int) else each for each in ranges]
    return tuple(index for first, last in pairs for index in range(first, last + 1))


DOGS = ((152, 191), (193, 203), (205, 226), (228, 241), (243, 250), (252, 257), 259, (261, 263))
BIRDS = (8, (10, 16), (18, 20), (22, 24), (80, 83), (87, 96), (98, 100), (127, 133), (135, 145))

IMAGENET = MappingProxyType(
    {
        "airplane": _indices(404),
        "bear": _indices((294, 297)),
        "bicycle": _indices(444, 671),
        "bird": _indices(*BIRDS),
        "boat": _indices(472, 554, 625, 814, 914),
        "bottle": _indices(440, 720, 737, 898, 899, 901, 907),
        "car": _indices(436, 511, 817),
        "cat": _indices((281, 286)),
        "chair": _indices(423, 559, 765, 857),
        "clock": _indices(409, 530, 892),
        "dog": _indices(*DOGS, (265, 268)),
        "elephant": _indices(385, 386),
        "keyboard": _indices(508, 878),
        "knife": _indices(499),
        "oven": _indices(766),
        "truck": _indices(555, 569, 656, 675, 717, 734, 864, 867),
    }
)
"""The members of each category: 207 of the 1000 classes (Geirhos et al., 2018)."""

CATEGORIES = tuple(IMAGENET)


def decide(shares: ArrayLike) -> NDArray[np.str_]:
    """Return the category of each row of non-negative shares (n, 1000), by the largest mean.

    ``na`` where nothing of a row is in any category. Ties go to the last in the alphabet, as in the
    toolbox, whose decisions these must be comparable with.
    """
    rows = np.atleast_2d(np.asarray(shares, np.float64))
    means = np.stack([rows[:, indices].mean(axis=1) for indices in IMAGENET.values()], axis=1)
    last = means.shape[1] - 1 - means[:, ::-1].argmax(axis=1)
    names = np.array([*CATEGORIES, NO_ANSWER])
    return names[np.where(means.max(axis=1) > 0, last, len(CATEGORIES))]
