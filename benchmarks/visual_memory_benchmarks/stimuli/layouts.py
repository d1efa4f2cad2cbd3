"""Folder layouts of datasets, and the pictures that a run takes of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from visual_memory.terminal.refused import listed
from visual_memory_benchmarks.errors import BadPicture, MissingData
from visual_memory_benchmarks.stimuli import stimuli
from visual_memory_benchmarks.stimuli.stimuli import Stimulus, StimulusSet
from visual_memory_benchmarks.trials import trial_files
from visual_memory_benchmarks.trials.datasets import ALL, Dataset
from visual_memory_benchmarks.trials.trials import image_id

CONDITION = "condition"  # the attribute of a stimulus that holds its condition
PEOPLE = Path("human_responses/human")


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture by its path inside a folder, not read yet."""

    file: str
    category: str
    condition: str = ALL


def by_category(name: str, folder: Path) -> list[Placed]:
    """List the pictures of a folder laid out as CATEGORY/…/FILE. Raises MissingData."""
    return [Placed(file, category) for file, category in stimuli.labelled(name, folder)]


def by_condition(name: str, folder: Path) -> list[Placed]:
    """List the pictures of a folder laid out as CONDITION/CATEGORY/FILE.

    Several levels of conditions are joined by dashes. Raises MissingData.
    """
    found = []
    for file, _ in stimuli.labelled(name, folder):
        *condition, category, _ = PurePosixPath(file).parts
        if not condition:
            problem = f"{file} lies in {folder} where a folder CONDITION/CATEGORY belongs"
            raise MissingData(name, problem)
        found.append(Placed(file, category, "-".join(condition)))
    return found


def published(dataset: Dataset, folder: Path) -> list[Placed]:
    """List the pictures of one of the 17 datasets as published: in session folders, or by category.

    Raises MissingData, BadPicture.
    """
    inside = folder / "dnn" if (folder / "dnn").is_dir() else folder
    found = [_parsed(dataset, inside, file) for file, _ in stimuli.labelled(dataset.name, inside)]
    start = PurePosixPath(inside.relative_to(folder).as_posix())
    return [Placed(str(start / each.file), each.category, each.condition) for each in found]


def _parsed(dataset: Dataset, folder: Path, file: str) -> Placed:
    *_, parent, name = PurePosixPath(file).parts
    if parent.startswith("session"):
        parts = name.split("_")
        condition = dataset.canonical(parts[3]) if len(parts) > 5 else None
        category = parts[4] if len(parts) > 5 else ""
    else:
        condition, category = (ALL if ALL in dataset.conditions else None), parent
    if condition is None or category not in dataset.categories:
        problem = f"tells no condition and category of the set {dataset.name} by its name"
        raise BadPicture(str(folder / file), problem)
    return Placed(file, category, condition)


def sample(placed: Sequence[Placed], limit: int | None, seed: int) -> list[Placed]:
    """Return at most ``limit`` pictures of each condition and category, in the order given.

    The choice depends on seed and file name alone: it is the same under every condition that has
    the files.
    """
    groups: dict[tuple[str, str], list[Placed]] = defaultdict(list)
    for each in placed:
        groups[each.condition, each.category].append(each)

    def draw(each: Placed) -> bytes:
        return hashlib.sha256(f"{seed} {each.file}".encode()).digest()

    chosen = {each for group in groups.values() for each in sorted(group, key=draw)[:limit]}
    return [each for each in placed if each in chosen]


def gather(name: str, folder: Path, placed: Sequence[Placed]) -> StimulusSet:
    """Make a stimulus set of pictures, with their hashes and conditions. Raises BadPicture."""
    found = tuple(
        Stimulus(
            each.file,
            each.category,
            stimuli.hashed(folder / each.file),
            MappingProxyType({CONDITION: each.condition}),
        )
        for each in placed
    )
    return StimulusSet(name, folder, found, stimuli.fingerprint(found))


def some(found: StimulusSet, limit: int | None, seed: int) -> StimulusSet:
    """Return at most ``limit`` pictures of each category, as ``sample`` chooses them."""
    placed = [Placed(each.file, each.category) for each in found.stimuli]
    chosen = {each.file for each in sample(placed, limit, seed)}
    return found.where(lambda each: each.file in chosen)


def check_complete(dataset: Dataset, names: Sequence[str], data: Path) -> None:
    """Check that ``names``, the pictures of a dataset, include all that people answered.

    ``data`` is the folder with the tables of people's answers; without them nothing is checked.
    Raises MissingData if a picture is missing.
    """
    tables = sorted((data / PEOPLE / dataset.name).glob("*.csv*"))
    if not tables:
        return
    answered = set(trial_files.read(tables[:1], dataset).images.tolist())
    if missing := sorted(answered - {image_id(name) for name in names}):
        raise MissingData(dataset.name, f"pictures that people saw are missing: {listed(missing)}")
