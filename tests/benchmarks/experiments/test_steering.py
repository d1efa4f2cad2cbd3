from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tests.benchmarks.experiments.conftest import Run
from tests.benchmarks.experiments.made import Cellular

import visual_memory
from visual_memory_benchmarks.experiments.steering import (
    ADDITIONS,
    BASE,
    BY_NEITHER,
    BY_SHAPE,
    BY_TEXTURE,
    MORE,
    Album,
    add,
    dealt,
    voters,
)
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.stimuli.stimuli import StimulusSet


def items(ids: np.ndarray) -> tuple[set[str], set[str]]:
    """Return the shape items and texture items of drawings and cue-conflict pictures."""
    names = [id.split("/")[-1].removesuffix(".png").split("-") for id in ids.tolist()]
    return {name[0] for name in names}, {name[-1] for name in names if len(name) == 2}


def test_no_picture_shape_or_texture_is_on_both_sides(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    album = Album(Laboratory(client, "steering", sets, [Cellular()]))
    for seed in range(3):
        deal = dealt(album, np.random.default_rng(seed))
        added = {kind: addition.gallery for kind, addition in deal.additions.items()}
        asked = [deal.natural, deal.cues, *deal.drawn.values()]
        remembered = {id for each in (deal.base, *added.values()) for id in each.ids.tolist()}
        assert not remembered & {id for each in asked for id in each.ids.tolist()}
        shapes, textures = items(added[BY_SHAPE].ids)
        asked_shapes, asked_textures = items(deal.cues.ids)
        assert shapes
        assert asked_shapes
        assert not shapes & asked_shapes
        assert not textures & asked_textures
        for name, drawn in deal.drawn.items():
            assert not items(added[name].ids)[0] & (items(drawn.ids)[0] | asked_shapes)


def test_labels_of_the_control_are_neither_shape_nor_texture(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    album = Album(Laboratory(client, "steering", sets, [Cellular()]))
    additions = dealt(album, np.random.default_rng(0)).additions
    shape, texture, neither = (
        additions[kind].gallery for kind in (BY_SHAPE, BY_TEXTURE, BY_NEITHER)
    )
    assert shape.ids.tolist() == texture.ids.tolist() == neither.ids.tolist()
    assert not (neither.labels == shape.labels).any()
    assert not (neither.labels == texture.labels).any()


def test_a_filter_admits_the_base_and_a_dose_of_one_addition(
    client: visual_memory.Client, sets: Mapping[str, StimulusSet]
) -> None:
    with Laboratory(client, "steering", sets, [Cellular()]) as laboratory:
        deal = dealt(Album(laboratory), np.random.default_rng(0))
        memory = laboratory.memory("all", deal.base)
        for kind, addition in deal.additions.items():
            add(memory, kind, addition)
        base = set(deal.base.ids.tolist())
        assert {each.id for each in memory.entries(voters(BASE, 0))} == base
        for kind in ADDITIONS:
            addition = deal.additions[kind]
            for dose in (1, 2):
                chosen = addition.gallery.ids[addition.places < dose].tolist()
                wanted = base | {f"{kind}: {id}" for id in chosen}
                assert {each.id for each in memory.entries(voters(kind, dose))} == wanted


def test_a_memory_that_is_told_shapes_sees_shapes(run: Run) -> None:
    found = run("steering", doses=(3,), k=1, seeds=2).tables["additions"]
    rows = {row["added"]: row for row in found}
    assert rows[BASE]["shape_bias"].value == rows[MORE]["shape_bias"].value == 0
    assert rows[BY_SHAPE]["shape_bias_change"].value > 0.5
    assert rows[BY_TEXTURE]["shape_bias"].value == 0
    assert rows[BY_TEXTURE]["texture"].value == 1
    assert rows[BY_NEITHER]["shape_change"].value < rows[BY_SHAPE]["shape_change"].value
    assert rows[BASE]["natural"].value == rows[BY_SHAPE]["natural"].value == 1
