"""Tasks: the questions of a benchmark, pictures under conditions, in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """A picture under a condition; ``name`` is its name in a table of trials."""

    name: str
    condition: str
    stimulus: Stimulus


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """The questions of a benchmark, and ``show``, which returns the picture to send for a question.

    ``data`` maps the sets used to their hashes. If ``own``, the pictures are entries of the memory,
    whose ids are their paths; if ``made``, they are generated, and their vectors not cached; if
    ``strange``, no memory has their labels, so only their distances are measured. ``note`` says
    what the results may be compared with.
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
    """Return a picture's name as published tables have it, parts joined by underscores.

    ``number`` is the trial's, ``code`` stands for the dataset. The last part, ``id``, must have no
    underscore.
    """
    return f"{number:04}_{code}_dnn_{'0' if condition == ALL else condition}_{category}_00_{id}"


def picture_id(file: str) -> str:
    """Return a path without slashes and underscores, distinct for distinct paths."""
    return quote(file, safe="").replace("_", "%5F")
