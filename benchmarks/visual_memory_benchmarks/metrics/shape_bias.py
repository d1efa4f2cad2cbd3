"""Shape bias on cue-conflict pictures (Geirhos et al., 2019)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.errors import BadTrials
from visual_memory_benchmarks.trials.panel import Panel
from visual_memory_benchmarks.trials.trials import Texts

DATASET = "cue-conflict"


def texture_category(name: str) -> str:
    """Return the texture's category in an image's name or id: bird for ``dog10-bird2.png``."""
    item = name.split("_")[-1].split(".")[0].split("-")[-1]
    return re.sub(r"\d", "", item)


def neither(shapes: Texts, textures: Texts, rng: np.random.Generator) -> Texts:
    """Draw a label for each picture that is neither its shape nor its texture."""
    names = np.unique(shapes)
    return np.array(
        [
            rng.choice(names[(names != shape) & (names != texture)])
            for shape, texture in zip(shapes, textures, strict=True)
        ]
    )


@dataclass(frozen=True, slots=True, eq=False)
class Conflict:
    """Answers to pictures whose shape and texture are of two categories.

    ``panel`` has these pictures alone, and the shape as the category shown; ``textures`` (n,) are
    category numbers.
    """

    panel: Panel
    textures: NDArray[np.int64]

    def of(self, makers: Sequence[str]) -> Conflict:
        """Select decision makers, in the order given."""
        return Conflict(self.panel.of(makers), self.textures)

    def at(self, pictures: NDArray[np.bool_]) -> Conflict:
        """Select pictures by a mask (n,)."""
        return Conflict(self.panel.at(pictures), self.textures[pictures])


def conflict(panel: Panel) -> Conflict:
    """Select the pictures whose shape and texture are of two categories.

    Raises BadTrials if a picture's name has no texture category.
    """
    names = [texture_category(name) for name in panel.images.tolist()]
    for image, name in zip(panel.images, names, strict=True):
        if name not in panel.categories:
            raise BadTrials(
                f"{panel.dataset}/{panel.condition}, picture {image}",
                f"its name gives the texture {name!r}, which is no category",
                "name cue-conflict pictures SHAPE-TEXTURE.png, such as dog10-bird2.png",
            )
    textures = np.array([panel.categories.index(name) for name in names], np.int64)
    return Conflict(panel, textures).at(textures != panel.shown)


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """Counts of answers by shape, by texture, and in all: (m, r) each.

    There are m decision makers, and r rows of weights of the pictures.
    """

    shape: NDArray[np.float64]
    texture: NDArray[np.float64]
    trials: NDArray[np.float64]

    @property
    def columns(self) -> tuple[NDArray[np.float64], ...]:
        """Return the counts ``shape``, ``texture`` and ``trials``, each (m, r), in this order."""
        return self.shape, self.texture, self.trials

    @property
    def pooled(self) -> Votes:
        """Pool all makers to one: (1, r)."""
        return Votes(*(each.sum(axis=0, keepdims=True) for each in self.columns))

    @property
    def bias(self) -> NDArray[np.float64]:
        """Return shape / (shape + texture) answers: (m, r); nan where there are neither."""
        total = self.shape + self.texture
        shares: NDArray[np.float64] = np.full(total.shape, np.nan)
        np.divide(self.shape, total, out=shares, where=total > 0)
        return shares


def votes(conflict: Conflict, weights: NDArray[np.float64]) -> Votes:
    """Count each maker's answers by shape and texture to the n conflicting pictures.

    Pictures count as each of the r rows of ``weights`` (r, n) says.
    """
    shape = conflict.panel.correct @ weights.T
    texture = (conflict.panel.responses == conflict.textures) @ weights.T
    return Votes(shape, texture, np.broadcast_to(weights.sum(axis=1), shape.shape))
