from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.benchmarks.edits.made import CATEGORIES, to_material

from visual_memory_benchmarks.edits.edit import ADDITION, MISLABELLED
from visual_memory_benchmarks.edits.material import (
    CUE_CONFLICT,
    NATURAL,
    SEEN_BY_PEOPLE,
    Material,
    Pictures,
)
from visual_memory_benchmarks.edits.split import Split, split
from visual_memory_benchmarks.errors import CannotSplit

DOSE_MAX = 2
WORLD = to_material()


@st.composite
def splits(draw: st.DrawFn) -> Split:
    material = to_material(
        seed=draw(st.integers(0, 5)),
        photographs=draw(st.integers(7, 14)),
        shapes=draw(st.integers(4, 7)),
    )
    return split(material, draw(st.integers(0, 2**32)), DOSE_MAX)


def drawn(dealt: Split) -> list[Pictures]:
    """Return the additions that show shape items."""
    return [dealt.additions[kind] for kind in ("silhouettes", "edges", CUE_CONFLICT)]


@settings(max_examples=40)
@given(splits())
def test_no_picture_is_on_two_sides(dealt: Split) -> None:
    memory, tests = set(dealt.memory.ids), set(dealt.tests[NATURAL].ids)

    for pictures in dealt.additions.values():
        assert not set(pictures.ids) & (memory | tests)
    for pictures in drawn(dealt):
        for name in SEEN_BY_PEOPLE:
            assert not set(pictures.ids) & set(dealt.tests[name].ids)
    assert not memory & tests


@settings(max_examples=40)
@given(splits())
def test_no_shape_or_texture_item_is_on_two_sides(dealt: Split) -> None:
    added = {item for pictures in drawn(dealt) for item in pictures.items}
    textures = set(dealt.additions[CUE_CONFLICT].textures)

    for name in SEEN_BY_PEOPLE:
        assert not added & set(dealt.tests[name].items)
    assert not textures & set(dealt.tests[CUE_CONFLICT].textures)


@settings(max_examples=40)
@given(splits())
def test_no_photograph_is_on_two_sides_as_a_distorted_copy(dealt: Split) -> None:
    copied = {id.removesuffix("+low-pass") for id in dealt.additions["low-pass"].ids}

    assert copied == set(dealt.additions[ADDITION].ids)
    assert not copied & (set(dealt.memory.ids) | set(dealt.tests[NATURAL].ids))


@settings(max_examples=40)
@given(splits(), st.integers(1, DOSE_MAX))
def test_a_dose_is_as_many_pictures_of_every_category(dealt: Split, dose: int) -> None:
    for kind, pictures in dealt.additions.items():
        chosen = pictures.categories[: dose * len(CATEGORIES)]
        assert kind == MISLABELLED or Counter(chosen.tolist()) == dict.fromkeys(CATEGORIES, dose)


@settings(max_examples=40)
@given(splits())
def test_every_entry_and_every_category_has_its_turn(dealt: Split) -> None:
    assert sorted(dealt.removal) == list(range(len(dealt.memory)))
    assert sorted(dealt.halved) == sorted(CATEGORIES)


def test_distorted_copies_are_of_the_photographs_that_the_control_adds_in_their_order() -> None:
    dealt = split(WORLD, 3, DOSE_MAX)

    plain = dealt.additions[ADDITION]

    assert dealt.additions["low-pass"].ids.tolist() == [f"{id}+low-pass" for id in plain.ids]


def test_wrong_labels_are_of_the_same_pictures_and_name_neither_shape_nor_texture() -> None:
    dealt = split(WORLD, 3, DOSE_MAX)

    right, wrong = dealt.additions[CUE_CONFLICT], dealt.additions[MISLABELLED]

    assert wrong.ids.tolist() == right.ids.tolist()
    assert not (wrong.categories == right.categories).any()
    assert not (wrong.categories == right.texture_categories).any()


def test_silhouettes_and_edges_show_the_same_items_in_the_same_order() -> None:
    dealt = split(WORLD, 3, DOSE_MAX)

    assert dealt.additions["edges"].items.tolist() == dealt.additions["silhouettes"].items.tolist()


def test_the_same_seed_deals_alike_and_another_does_not() -> None:
    one, same, other = (split(WORLD, seed, DOSE_MAX) for seed in (1, 1, 2))

    assert one.memory.ids.tolist() == same.memory.ids.tolist()
    assert one.memory.ids.tolist() != other.memory.ids.tolist()


def test_probes_conflict_and_tests_keep_the_pictures_that_do_not() -> None:
    dealt = split(WORLD, 1, DOSE_MAX)

    assert dealt.probes.conflicting.all()
    assert not dealt.tests[CUE_CONFLICT].conflicting.all()


def test_tests_lie_as_people_saw_them_sorted_by_image() -> None:
    dealt = split(WORLD, 1, DOSE_MAX)

    for name in SEEN_BY_PEOPLE:
        images = dealt.tests[name].images.tolist()
        assert images == sorted(images)


def test_a_dose_beyond_the_pictures_is_refused_with_both_numbers() -> None:
    with pytest.raises(CannotSplit, match=r"only 2 pictures can be added as .*, where .* needs 3"):
        split(WORLD, 0, 3)


def test_every_shape_item_is_tested_or_may_be_added() -> None:
    dealt = split(WORLD, 0, DOSE_MAX)

    tested = set(dealt.tests[CUE_CONFLICT].items)

    assert tested | set(dealt.additions["edges"].items) == set(WORLD.sets[CUE_CONFLICT].items)


def test_the_published_sets_are_dealt_with_five_pictures_a_category_to_add(real: Material) -> None:
    for seed in range(10):
        dealt = split(real, seed, 5)
        assert not set(dealt.probes.items) & set(dealt.tests[CUE_CONFLICT].items)
        assert np.unique(dealt.tests["edge"].categories, return_counts=True)[1].tolist() == [5] * 16
