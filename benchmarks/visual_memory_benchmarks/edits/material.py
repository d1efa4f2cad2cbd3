"""The material of the study: pictures as vectors, their items, and people's answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import visual_memory
from visual_memory_benchmarks.distortions.picture import scaled
from visual_memory_benchmarks.distortions.registry import distort
from visual_memory_benchmarks.errors import MissingData
from visual_memory_benchmarks.stimuli import stimuli
from visual_memory_benchmarks.stimuli.embeddings import BATCH, Embeddings
from visual_memory_benchmarks.stimuli.stimuli import Stimulus, StimulusSet, decode
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.panel import Panel, panels
from visual_memory_benchmarks.trials.trial_files import find, read
from visual_memory_benchmarks.trials.trials import Texts, is_person

Rows: TypeAlias = NDArray[np.intp] | NDArray[np.bool_]

NATURAL, CUE_CONFLICT, EDGE, SILHOUETTE = "natural", "cue-conflict", "edge", "silhouette"
SEEN_BY_PEOPLE = (CUE_CONFLICT, EDGE, SILHOUETTE)
FOLDERS = MappingProxyType(
    {
        NATURAL: "natural16",
        CUE_CONFLICT: "cue_conflict",
        EDGE: "edges",
        SILHOUETTE: "filled_silhouettes",
    }
)
RESPONSES = "human_responses/human"
LEVELS = MappingProxyType({"low-pass": "5", "phase-scrambling": "90"})


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures of the study, a row each.

    ``items`` names the unit of resampling: the object whose shape is shown, or the file of a
    photograph. ``textures`` and ``texture_categories`` are empty but for cue-conflict pictures.
    """

    ids: Texts
    categories: Texts
    items: Texts
    textures: Texts
    texture_categories: Texts
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def images(self) -> Texts:
        """Return the file names, by which tables of trials name pictures."""
        return np.array([id.rsplit("/", 1)[-1] for id in self.ids.tolist()], np.str_)

    @property
    def conflicting(self) -> NDArray[np.bool_]:
        """Return a mask of the pictures whose shape and texture are of two categories.

        The mask has a meaning for cue-conflict pictures only, as others have no texture.
        """
        conflicting: NDArray[np.bool_] = self.texture_categories != self.categories
        return conflicting

    def at(self, rows: Rows) -> Pictures:
        """Select rows by numbers, in the order given, or by a mask."""
        return Pictures(*(getattr(self, field.name)[rows] for field in fields(Pictures)))


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """All material that the study draws from.

    ``sets`` has the pictures of ``NATURAL`` and ``SEEN_BY_PEOPLE`` by name; ``copies`` has the
    natural pictures by distortion, in the same rows; ``people`` has answers to each of
    ``SEEN_BY_PEOPLE``. ``sources`` describes the origin of all of it, for the record.
    """

    sets: Mapping[str, Pictures]
    copies: Mapping[str, Pictures]
    people: Mapping[str, Panel]
    sources: Mapping[str, Any]

    @property
    def categories(self) -> tuple[str, ...]:
        """Return the categories, in alphabetical order."""
        return tuple(np.unique(self.sets[NATURAL].categories).tolist())

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of all columns of all pictures, vectors included."""
        found = hashlib.sha256()
        for pictures in (*self.sets.values(), *self.copies.values()):
            for name in (each.name for each in fields(Pictures)):
                column = getattr(pictures, name)
                found.update(f"{name} {column.shape} {column.dtype.str}\n".encode())
                found.update(column.tobytes())
        return found.hexdigest()


def gather(client: visual_memory.Client, folder: Path, embedder: str, cache: Path) -> Material:
    """Load pictures and people's answers below ``folder``, and embed the pictures.

    Vectors are kept in ``cache``. Raises MissingData if a set is missing or incomplete.
    """
    embeddings = Embeddings(client, embedder, cache)
    sets = {name: stimuli.load(name, folder / path) for name, path in FOLDERS.items()}
    shapes = {each.attributes["shape_source"] for each in sets[CUE_CONFLICT].stimuli}
    for name in (EDGE, SILHOUETTE):
        if unknown := sorted({_item(each) for each in sets[name].stimuli} - shapes):
            raise MissingData(name, f"{unknown[0]} is no shape item of the cue-conflict pictures")
    natural = sets[NATURAL]
    answers = people(folder / RESPONSES)
    return Material(
        sets={
            name: pictures(each, embeddings.of([each.path(one) for one in each.stimuli]))
            for name, each in sets.items()
        },
        copies={
            name: pictures(natural, _distorted(natural, name, embeddings), suffix=f"+{name}")
            for name in LEVELS
        },
        people=answers,
        sources={
            "embedder": embeddings.spec,
            "sets": {FOLDERS[name]: each.sha256 for name, each in sets.items()},
            "distortions": dict(LEVELS),
            "people": {name: _sha256(panel) for name, panel in answers.items()},
        },
    )


def people(folder: Path) -> dict[str, Panel]:
    """Load people's answers by set name. Raises MissingData, BadTrials, NoTrials."""
    found = find([folder])
    answers = {}
    for name in SEEN_BY_PEOPLE:
        if name not in found:
            raise MissingData(name, f"there is no table of people's answers in {folder / name}")
        [panel] = panels(read(found[name], DATASETS[name]))
        answers[name] = panel.of([maker for maker in panel.makers if is_person(maker)])
    return answers


def _sha256(panel: Panel) -> str:
    columns = (np.array(panel.makers), panel.images, panel.shown, panel.responses)
    return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()


def _item(stimulus: Stimulus) -> str:
    name = stimulus.file.rsplit("/", 1)[-1].partition(".")[0]
    return stimulus.attributes.get("shape_source", name)


def pictures(chosen: StimulusSet, vectors: NDArray[np.float32], suffix: str = "") -> Pictures:
    """Make a row of each picture of a set, in its order; the ids are FOLDER/FILE + ``suffix``."""
    rows = chosen.stimuli

    def column(values: Sequence[str]) -> Texts:
        return np.array(values, np.str_)

    return Pictures(
        ids=column([f"{chosen.folder.name}/{each.file}{suffix}" for each in rows]),
        categories=column([each.category for each in rows]),
        items=column([each.file if chosen.name == NATURAL else _item(each) for each in rows]),
        textures=column([each.attributes.get("texture_source", "") for each in rows]),
        texture_categories=column([each.attributes.get("texture_category", "") for each in rows]),
        vectors=vectors,
    )


def _distorted(chosen: StimulusSet, name: str, embeddings: Embeddings) -> NDArray[np.float32]:
    """Embed a set's pictures under the distortion ``name``: float32 (n, d).

    Batches are distorted one by one, since pixels need much more RAM than vectors.
    """
    rows = chosen.stimuli
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    return np.concatenate(
        [embeddings.of([_distort(chosen, each, name) for each in batch]) for batch in batches]
    )


def _distort(chosen: StimulusSet, stimulus: Stimulus, name: str) -> NDArray[np.uint8]:
    picture = scaled(decode(chosen, stimulus))
    level = LEVELS[name]
    return distort(picture, name, level, seed=0, picture_id=stimulus.file)
