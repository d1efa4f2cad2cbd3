"""Panels: the answers of several decision makers to the same pictures of one condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.errors import UnmatchedImages
from visual_memory_benchmarks.trials.trials import Texts, Trials


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Answers (m, n) of m decision makers to the n pictures of a condition, as category numbers.

    Makers and images are in alphabetical order; −1 stands for ``na``. ``drawn_as`` is the first
    condition that shows the same pictures, and gets the same bootstrap draws.
    """

    dataset: str
    condition: str
    categories: tuple[str, ...]
    makers: tuple[str, ...]
    images: Texts
    shown: NDArray[np.int64]
    responses: NDArray[np.int64]
    drawn_as: str = ""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Return True for each right answer (m, n)."""
        correct: NDArray[np.bool_] = self.responses == self.shown
        return correct

    @property
    def key(self) -> str:
        """Return the key that seeds the resampling, equal for conditions with equal pictures."""
        return f"{self.dataset}/{self.drawn_as or self.condition}"

    def members(self) -> NDArray[np.float64]:
        """Return (categories, n) weights: 1 at the pictures of each category and 0 at others."""
        numbers = np.arange(len(self.categories))[:, None]
        members: NDArray[np.bool_] = self.shown == numbers
        return members.astype(np.float64)

    def of(self, makers: Sequence[str]) -> Panel:
        """Select decision makers, in the order given."""
        rows = [self.makers.index(maker) for maker in makers]
        return replace(self, makers=tuple(makers), responses=self.responses[rows])

    def at(self, pictures: NDArray[np.bool_]) -> Panel:
        """Select pictures by a mask (n,)."""
        return replace(
            self,
            images=self.images[pictures],
            shown=self.shown[pictures],
            responses=self.responses[:, pictures],
        )


def panels(trials: Trials) -> list[Panel]:
    """Make a panel for each condition that has trials, in the dataset's order.

    A decision maker with trials in a condition must have answered all of its pictures. Raises
    UnmatchedImages.
    """
    conditions = [each for each in trials.dataset.conditions if each in set(trials.conditions)]
    found = [_panel(trials.where(trials.conditions == each), each) for each in conditions]
    first: dict[tuple[str, ...], str] = {}
    return [
        replace(panel, drawn_as=first.setdefault(tuple(panel.images.tolist()), panel.condition))
        for panel in found
    ]


def _panel(trials: Trials, condition: str) -> Panel:
    makers, maker = np.unique(trials.makers, return_inverse=True)
    images, first, image = np.unique(trials.images, return_index=True, return_inverse=True)
    answered = np.zeros((len(makers), len(images)), np.bool_)
    answered[maker, image] = True
    if not answered.all():
        row = int((~answered.all(axis=1)).argmax())
        raise UnmatchedImages(
            trials.dataset.name,
            condition,
            str(makers[row]),
            missing=images[~answered[row]].tolist(),
            remedy="finish the run, or keep one of fewer pictures (--limit) in a folder of its own",
        )
    responses = np.empty(answered.shape, np.int64)
    responses[maker, image] = _numbers(trials.responses, trials.dataset.categories)
    return Panel(
        dataset=trials.dataset.name,
        condition=condition,
        categories=trials.dataset.categories,
        makers=tuple(makers.tolist()),
        images=images,
        shown=_numbers(trials.categories[first], trials.dataset.categories),
        responses=responses,
    )


def _numbers(values: Texts, categories: tuple[str, ...]) -> NDArray[np.int64]:
    names, name = np.unique(values, return_inverse=True)
    numbers = {category: number for number, category in enumerate(categories)}
    return np.array([numbers.get(each, -1) for each in names.tolist()], np.int64)[name]
