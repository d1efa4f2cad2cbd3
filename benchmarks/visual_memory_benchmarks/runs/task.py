"""What a benchmark asks: pictures, each under a condition, in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.stimuli.stimuli import Stimulus
from visual_memory_benchmarks.trials.datasets import ALL, Dataset

Shown: TypeAlias = "bytes | NDArray[np.uint8]"


@dataclass(frozen=True, slots=True)
class Question:
    """One picture under one condition; ``name`` is what a table of trials calls it."""

    name: str
    condition: str
    stimulus: Stimulus


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """The questions of a benchmark, and ``show``, which makes what is sent of one.

    ``data`` are the hashes of the sets used, by name. ``own`` says that the pictures are entries
    of the memory by their paths, ``made`` that they are made on the way, and their vectors not
    worth keeping, ``strange`` that they show what no memory has a label for: their distances are
    what is asked about. ``note`` says what the results may be compared with.
    """

    dataset: Dataset
    data: Mapping[str, str]
    questions: tuple[Question, ...]
    show: Callable[[Question], Shown]
    own: bool = False
    made: bool = False
    strange: bool = False
    note: str = ""


def table_name(number: int, code: str, condition: str, category: str, id: str) -> str:
    """As published tables name pictures: ``id`` follows the last underscore, and has none."""
    return f"{number:04}_{code}_dnn_{'0' if condition == ALL else condition}_{category}_00_{id}"


def picture_id(file: str) -> str:
    """A path without slashes and underscores, so that no two are alike."""
    return quote(file, safe="").replace("_", "%5F")


def batches(questions: tuple[Question, ...], size: int) -> Iterator[tuple[Question, ...]]:
    """As many at a time, and what is left."""
    for start in range(0, len(questions), size):
        yield questions[start : start + size]
