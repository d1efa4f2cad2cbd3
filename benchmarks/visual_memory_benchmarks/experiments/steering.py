"""Steering: do additions move a memory from texture to shape?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from visual_memory import Memory
from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import (
    Gallery,
    Numbers,
    Texts,
    joined,
    one_by_one,
    parts,
)
from visual_memory_benchmarks.laboratory.intervals import over_seeds
from visual_memory_benchmarks.laboratory.laboratory import Laboratory, remember
from visual_memory_benchmarks.laboratory.result import Tables
from visual_memory_benchmarks.metrics.shape_bias import neither

NATURAL, CUES = "natural16", "cue_conflict"
DRAWN = ("filled_silhouettes", "edges")
BY_SHAPE, BY_TEXTURE, BY_NEITHER = (
    "cue conflict, called by shape",
    "cue conflict, called by texture",
    "cue conflict, called neither",
)
BASE, MORE = "natural", "more natural"
ADDITIONS = (MORE, *DRAWN, BY_SHAPE, BY_TEXTURE, BY_NEITHER)
MEASURES = ("shape_bias", "shape", "texture", "natural", *DRAWN)


@partial(
    Experiment,
    "Shape bias steered by what a memory may look at",
    papers=(14, 31),
    data=(NATURAL, CUES, *DRAWN),
    intervals=intervals.SEEDS,
    comparison=(
        "Shape bias is of the published pictures, but of a part of them that differs from seed to "
        "seed: its changes may stand beside those that prompts bring about, its values beside "
        "people only roughly. Shape bias is a ratio: it rises where texture answers go, even if "
        "shape answers go too, so read both shares, and the control, beside it."
    ),
)
def steering(
    laboratory: Laboratory, *, doses: Sequence[int] = (1, 5), k: int = 10, seeds: int = 10
) -> Tables:
    """Store half of natural16 and all additions; a filter selects those that vote.

    A dose is how many pictures of each category are added. No picture, shape or texture of the
    additions is queried. Controls of the same size are other natural pictures, and the cue-conflict
    pictures under labels that are neither their shape nor their texture.
    """
    states = [(BASE, 0), *((kind, dose) for kind in ADDITIONS for dose in doses)]
    found = np.empty((seeds, len(states), len(MEASURES)))
    album = Album(laboratory)
    for seed in range(seeds):
        deal = dealt(album, np.random.default_rng(seed))
        memory = laboratory.memory(f"seed {seed}", deal.base)
        for kind, addition in deal.additions.items():
            add(memory, kind, addition)
        laboratory.note(f"seed {seed}", memory)
        for row, (kind, dose) in enumerate(states):
            found[seed, row] = _measured(memory, deal, voters(kind, dose), k)
    return {
        "additions": [
            {
                "added": kind,
                "of_each_category": dose,
                "voters": voters(kind, dose),
                **{name: over_seeds(found[:, row, at]) for at, name in enumerate(MEASURES)},
                **{
                    f"{name}_change": over_seeds(found[:, row, at] - found[:, 0, at])
                    for at, name in enumerate(MEASURES)
                },
            }
            for row, (kind, dose) in enumerate(states)
        ]
    }


def voters(kind: str, dose: int) -> str:
    """Return the filter that lets the base and a dose of one kind of addition vote."""
    if kind == BASE:
        return "NOT metadata:added"
    return f'NOT metadata:added OR (metadata.added = "{kind}" AND metadata.place < "{dose:03}")'


class Album:
    """All pictures, with the source images (items) of drawings and cue-conflict pictures."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.natural, self.cues = laboratory.gallery(NATURAL), laboratory.gallery(CUES)
        self.drawn = {name: laboratory.gallery(name) for name in DRAWN}
        self.shape_items = laboratory.attribute(CUES, "shape_source")
        self.texture_items = laboratory.attribute(CUES, "texture_source")
        self.textures = laboratory.attribute(CUES, "texture_category")
        self.items = {
            name: np.array([PurePosixPath(id).stem for id in gallery.ids])
            for name, gallery in self.drawn.items()
        }


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """Pictures to add, with the place of each in its category: dose n adds places below n."""

    gallery: Gallery
    places: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class Deal:
    """The stored, the added and the queried pictures of one seed.

    ``additions`` are by kind; ``natural``, ``drawn`` (by set) and ``cues`` are queried.
    """

    base: Gallery
    additions: Mapping[str, Addition]
    natural: Gallery
    drawn: Mapping[str, Gallery]
    cues: Gallery
    textures: Texts  # of the cues


def dealt(album: Album, rng: np.random.Generator) -> Deal:
    """Split the pictures at random, so that no shape or texture item is both added and queried."""
    base, more, natural = album.natural.parts((0.5, 0.25, 0.25), rng)
    shapes = _some_items(album.shape_items, album.cues.labels, 0.5, rng)
    textures = _some_items(album.texture_items, album.textures, 0.4, rng)
    conflict = album.textures != album.cues.labels
    shape_added = np.isin(album.shape_items, shapes)
    texture_added = np.isin(album.texture_items, textures)
    added = conflict & shape_added & texture_added
    queried = conflict & ~shape_added & ~texture_added
    drawn = {name: np.isin(items, shapes) for name, items in album.items.items()}
    cues, names = album.cues.at(added), album.textures[added]
    places = one_by_one(cues.labels, rng)
    wrong = neither(cues.labels, names, rng)
    return Deal(
        base=base,
        additions={
            MORE: _placed(more, rng),
            **{name: _placed(album.drawn[name].at(mask), rng) for name, mask in drawn.items()},
            BY_SHAPE: Addition(cues, places),
            BY_TEXTURE: Addition(cues.labelled(names), places),
            BY_NEITHER: Addition(cues.labelled(wrong), places),
        },
        natural=natural,
        drawn={name: album.drawn[name].at(~mask) for name, mask in drawn.items()},
        cues=album.cues.at(queried),
        textures=album.textures[queried],
    )


def _placed(gallery: Gallery, rng: np.random.Generator) -> Addition:
    return Addition(gallery, one_by_one(gallery.labels, rng))


def _some_items(items: Texts, categories: Texts, share: float, rng: np.random.Generator) -> Texts:
    """Return a random share of the items of each category."""
    names, first = np.unique(items, return_index=True)
    chosen, _ = parts(categories[first], (share, 1 - share), rng)
    return names[chosen]


def add(memory: Memory, kind: str, addition: Addition) -> None:
    """Insert an addition, under ids of its own, since several kinds share pictures."""
    gallery = addition.gallery
    remember(
        memory,
        replace(gallery, ids=np.array([f"{kind}: {id}" for id in gallery.ids])),
        [{"added": kind, "place": f"{place:03}"} for place in addition.places],
    )


def _measured(memory: Memory, deal: Deal, filter: str, k: int) -> list[float]:
    """Return the MEASURES, in their order, of a memory of which the entries of ``filter`` vote.

    They are shape bias (nan without answers by shape or texture) and shares of answers, on the
    queried pictures of ``deal``.
    """
    galleries = [deal.cues, deal.natural, *(deal.drawn[name] for name in DRAWN)]
    queries = joined(galleries)
    called = questions.labels(questions.classify(memory, queries, k=k, filter=filter))
    right = np.split(called == queries.labels, np.cumsum([len(each) for each in galleries])[:-1])
    shape, *rest = (float(each.mean()) for each in right)
    texture = float((called[: len(deal.cues)] == deal.textures).mean())
    by_cue = shape + texture
    return [shape / by_cue if by_cue else np.nan, shape, texture, *rest]
