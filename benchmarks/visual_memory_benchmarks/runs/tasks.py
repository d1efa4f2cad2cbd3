"""Tasks made from datasets, by their folder layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TypeAlias

from visual_memory.terminal.refused import listed
from visual_memory_benchmarks.errors import MissingData, NotRemembered
from visual_memory_benchmarks.runs.task import Question, Shown, Task, picture_id, table_name
from visual_memory_benchmarks.sources.sources import SOURCES
from visual_memory_benchmarks.stimuli import layouts, stimuli
from visual_memory_benchmarks.stimuli.layouts import CONDITION, Placed
from visual_memory_benchmarks.stimuli.remembered import Remembered
from visual_memory_benchmarks.stimuli.stimuli import Stimulus, StimulusSet
from visual_memory_benchmarks.trials.datasets import ALL, NO_ANSWER, Dataset

Lay: TypeAlias = Callable[[str, Path], list[Placed]]

NATURAL, BANK = "natural16", "caltech20"
# Of the sets of texture-vs-shape: the folder, and the code in published names of pictures.
BY_SHAPE = MappingProxyType(
    {
        "cue-conflict": ("cue_conflict", "s5n"),
        "edge": ("edges", "edg"),
        "silhouette": ("filled_silhouettes", "sif"),
    }
)
SETS = frozenset({NATURAL, BANK, *SOURCES, *(folder for folder, _ in BY_SHAPE.values())})
"""Folders in the folder of data that are sets of pictures."""


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """Inputs of a task: the data folder, the memory's name and entries, and a sample size.

    At most ``limit`` pictures of each category are taken, chosen by ``seed``; all if None.
    """

    data: Path
    memory: str
    remembered: Remembered
    limit: int | None
    seed: int


def place(name: str, data: Path) -> Path | None:
    """Return the folder of a set or, if missing, its folder in the repository texture-vs-shape.

    None if neither is in ``data``.
    """
    names = (name, *BY_SHAPE.get(name, ())[:1])
    return next((data / each for each in names if (data / each).is_dir()), None)


def people(dataset: Dataset, at: TaskInputs) -> Task:
    """Make the task of one of the 17 datasets that people answered.

    Folders are as published, or as in the repository texture-vs-shape. Raises MissingData.
    """
    folder = place(dataset.name, at.data)
    if folder is None:
        raise _missing(dataset.name, at.data)
    if folder.name == dataset.name:
        return _published(dataset, folder, at)
    other, code = BY_SHAPE[dataset.name]
    found = layouts.some(stimuli.load(other, folder), at.limit, at.seed)
    names = [
        table_name(number, code, ALL, each.category, PurePosixPath(each.file).name)
        for number, each in enumerate(found.stimuli, start=1)
    ]
    return _named(dataset, found, names, at)


def _published(dataset: Dataset, folder: Path, at: TaskInputs) -> Task:
    placed = layouts.sample(layouts.published(dataset, folder), at.limit, at.seed)
    found = layouts.gather(dataset.name, folder, placed)
    return _named(dataset, found, [PurePosixPath(each.file).name for each in placed], at)


def _named(dataset: Dataset, found: StimulusSet, names: Sequence[str], at: TaskInputs) -> Task:
    if at.limit is None:
        layouts.check_complete(dataset, names, at.data)
    questions = tuple(
        Question(name, each.attributes.get(CONDITION, ALL), each)
        for name, each in zip(names, found.stimuli, strict=True)
    )
    note = "The pictures that people saw: comparable picture by picture."
    return Task(dataset, {found.name: found.sha256}, questions, _bytes(found), note=note)


def classes(name: str, lay: Lay, at: TaskInputs) -> Task:
    """Make the task of a dataset whose answers are its own classes. Raises MissingData.

    ``lay`` lists the pictures of the dataset's folder.
    """
    folder = at.data / name
    if not folder.is_dir():
        raise _missing(name, at.data)
    return _foldered(name, folder, lay, at)


def folder(at: TaskInputs) -> Task:
    """Make a task of pictures in a folder per class; any label is an answer. Raises MissingData."""
    task = _foldered("folder", at.data, layouts.by_category, at)
    _check_categories(task.dataset.categories, "folder", at, "Name one that has none with --data.")
    return task


def _foldered(name: str, folder: Path, lay: Lay, at: TaskInputs) -> Task:
    found = layouts.gather(name, folder, layouts.sample(lay(name, folder), at.limit, at.seed))
    conditions = tuple(dict.fromkeys(each.attributes[CONDITION] for each in found.stimuli))
    categories = found.categories
    if name in ("folder", "ninco"):
        categories = with_labels(found, at)
    dataset = Dataset(
        name,
        "nonparametric" if conditions == (ALL,) else "parametric",
        conditions,
        categories=categories,
    )
    questions = numbered(name, [(each.attributes[CONDITION], each) for each in found.stimuli])
    strange = name == "ninco"
    return Task(dataset, {name: found.sha256}, questions, _bytes(found), strange=strange)


def natural(at: TaskInputs) -> Task:
    """Make a task of the pictures that the memory was made of. Raises NotRemembered."""
    found = clean_pictures(at)
    if strange := [each.file for each in found.stimuli if not at.remembered.same(each, own=True)]:
        raise NotRemembered(
            f"The memory {at.memory} does not hold these pictures of {found.folder}, which it is "
            f"to find among its others: {listed(strange)}. Insert the folder, or give the one it "
            "was made of."
        )
    dataset = Dataset("natural", "nonparametric", categories=with_labels(found, at))
    questions = numbered("natural", [(ALL, each) for each in found.stimuli])
    note = "Each picture against the others of its memory."
    return Task(dataset, {found.name: found.sha256}, questions, _bytes(found), own=True, note=note)


def clean_pictures(at: TaskInputs) -> StimulusSet:
    """Return the pictures of natural16 if the data folder has it, or else of the folder itself.

    Raises MissingData.
    """
    folder = at.data / NATURAL
    found = stimuli.load(*((NATURAL, folder) if folder.is_dir() else ("natural", at.data)))
    remedy = f"Move the folders of the categories into {folder}, where they are looked for first."
    _check_categories(found.categories, found.name, at, remedy)
    return layouts.some(found, at.limit, at.seed)


def with_labels(found: StimulusSet, at: TaskInputs) -> tuple[str, ...]:
    """Return the categories of pictures and the labels of the memory but ``na``, sorted."""
    return tuple(sorted({*found.categories, *at.remembered.labels} - {NO_ANSWER}))


def _check_categories(categories: Iterable[str], name: str, at: TaskInputs, remedy: str) -> None:
    """Raise MissingData if a category has the name of a dataset and is no label of the memory.

    A folder of the dataset was then taken for a category; ``remedy`` says how to avoid that.
    """
    if sets := sorted(SETS.intersection(categories) - at.remembered.labels):
        lie, are = ("lies", "is a set") if len(sets) == 1 else ("lie", "are sets")
        raise MissingData(
            name,
            f"{listed(sets)} {lie} among the categories in {at.data}, but {are} of pictures and no "
            f"label of the memory {at.memory}",
            remedy,
        )


def numbered(code: str, pairs: Iterable[tuple[str, Stimulus]]) -> tuple[Question, ...]:
    """Make a question of each condition and picture, numbered from 1, with its ``table_name``.

    ``code`` is the part of the name that stands for the dataset.
    """
    return tuple(
        Question(
            table_name(number, code, condition, each.category, picture_id(each.file)),
            condition,
            each,
        )
        for number, (condition, each) in enumerate(pairs, start=1)
    )


def _bytes(found: StimulusSet) -> Callable[[Question], Shown]:
    return lambda question: found.read(question.stimulus)


def _missing(name: str, data: Path) -> MissingData:
    return MissingData(name, f"there is no folder {data / name}", SOURCES[name].remedy(data))
