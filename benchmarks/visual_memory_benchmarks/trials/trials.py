"""Trials: answers of people and machines to pictures, in columns."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.errors import BadTrials
from visual_memory_benchmarks.trials.datasets import NO_ANSWER, Dataset

Texts: TypeAlias = NDArray[np.str_]

PERSON = re.compile(r"subject-\d+")
PEOPLE = "people"  # all of them together, in summaries


def is_person(maker: str) -> bool:
    """Return True for a person: the tables call people subject-01, subject-02 …"""
    return PERSON.fullmatch(maker) is not None


def image_id(name: str) -> str:
    """Return the part of a trial's image name that is the same for all decision makers."""
    parts = name.split("_")
    if len(parts) > 1 and parts[-2].startswith("n0"):
        return f"{parts[-2]}_{parts[-1]}"
    return parts[-1]


@dataclass(frozen=True, eq=False)
class Trials:
    """Trials of one dataset, a row each.

    ``makers`` are the decision makers, people and models; ``seconds`` is nan for models;
    ``responses`` are categories or ``na``, which counts as a wrong answer; ``conditions`` are
    canonical; ``names`` are image names as in the tables.
    """

    dataset: Dataset
    makers: Texts
    sessions: NDArray[np.int64]
    numbers: NDArray[np.int64]
    seconds: NDArray[np.float64]
    responses: Texts
    categories: Texts
    conditions: Texts
    names: Texts

    def __len__(self) -> int:
        return len(self.makers)

    @cached_property
    def images(self) -> Texts:
        """Return the ids by which answers to the same picture are matched."""
        return np.array([image_id(name) for name in self.names.tolist()], np.str_)

    def where(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Trials:
        """Select rows, in their order."""
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})


COLUMNS = tuple(field.name for field in fields(Trials) if field.name != "dataset")


def check(trials: Trials, place: Callable[[int], str] = lambda row: f"trial {row + 1}") -> Trials:
    """Check and return the trials. Raises BadTrials; ``place`` names the place of a row."""

    def refuse(bad: NDArray[np.bool_], problem: Callable[[int], str], remedy: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            raise BadTrials(place(row), problem(row), remedy)

    dataset, categories = trials.dataset, trials.dataset.categories
    choices = f"choose one of {', '.join(categories)}"
    refuse(
        trials.makers == "",
        lambda row: "the decision maker (subj) has no name",
        "name who answered",
    )
    refuse(
        trials.makers == PEOPLE,
        lambda row: f"a decision maker is called {PEOPLE}, as all of them together are",
        "rename it",
    )
    refuse(
        ~np.isin(trials.categories, categories),
        lambda row: f"the category {str(trials.categories[row])!r} is unknown",
        choices,
    )
    refuse(
        ~np.isin(trials.responses, [*categories, NO_ANSWER]),
        lambda row: f"the response {str(trials.responses[row])!r} is unknown",
        f"{choices}, or write {NO_ANSWER} where no answer came",
    )
    refuse(
        ~np.isin(trials.conditions, dataset.conditions),
        lambda row: f"{dataset.name} has no condition {str(trials.conditions[row])!r}",
        f"it has {', '.join(dataset.conditions)}; keep the trials of another dataset in a folder "
        "of its own",
    )
    _, image = np.unique(trials.images, return_inverse=True)
    refuse(
        *_repeated(trials, image, place),
        "keep one answer of each decision maker to each picture of a condition",
    )
    _, first = np.unique(image, return_index=True)
    shown = trials.categories[first][image]
    refuse(
        trials.categories != shown,
        lambda row: (
            f"the picture {trials.images[row]} is of the category {trials.categories[row]} here "
            f"and {shown[row]} at {place(int(first[image[row]]))}"
        ),
        "correct one of the two",
    )
    return trials


def _repeated(
    trials: Trials, image: NDArray[np.intp], place: Callable[[int], str]
) -> tuple[NDArray[np.bool_], Callable[[int], str]]:
    """Return a mask of rows that answer a picture again, and a function to describe such a row.

    ``image`` numbers the picture of each row; ``place`` names the place of a row.
    """
    _, maker = np.unique(trials.makers, return_inverse=True)
    _, condition = np.unique(trials.conditions, return_inverse=True)
    keys = (maker * (condition.max(initial=0) + 1) + condition) * (image.max(initial=0) + 1) + image
    _, first, key = np.unique(keys, return_index=True, return_inverse=True)
    earlier = first[key]
    return (
        earlier != np.arange(len(trials)),
        lambda row: (
            f"{trials.makers[row]} answered {trials.images[row]} in the condition "
            f"{trials.conditions[row]} before, at {place(int(earlier[row]))}"
        ),
    )


def makers(trials: Trials) -> tuple[list[str], list[str]]:
    """Return the people and the models, each in alphabetical order."""
    names = np.unique(trials.makers).tolist()
    return [name for name in names if is_person(name)], [n for n in names if not is_person(n)]
