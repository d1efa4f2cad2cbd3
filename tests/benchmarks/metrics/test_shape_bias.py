from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.benchmarks.made import to_trials

from visual_memory_benchmarks.errors import BadTrials
from visual_memory_benchmarks.metrics.shape_bias import conflict, texture_category, votes
from visual_memory_benchmarks.trials.datasets import DATASETS
from visual_memory_benchmarks.trials.panel import Panel, panels

ANSWERS = st.sampled_from(["cat", "dog", "car", "na"])


def panel(answers: dict[str, list[str]], items: list[tuple[str, str]]) -> Panel:
    names = [f"0_x_{at}_{shape}{at}-{cue}{at}.png" for at, (shape, cue) in enumerate(items)]
    shown = [shape for shape, _ in items]
    trials = to_trials(answers, shown, names=names, dataset=DATASETS["cue-conflict"])
    [made] = panels(trials)
    return made


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("dog10-bird2.png", "bird"),
        ("0002_s5n_s01_0_bird_00_bird2-clock3.png", "clock"),
        ("boat1-keyboard12.v2.png", "keyboard"),
        ("boat-x_boat1-bird-clock2.png", "clock"),
        ("boat1-x_clock2.png", "clock"),
    ],
)
def test_the_texture_is_the_second_item_of_the_name(name: str, category: str) -> None:
    assert texture_category(name) == category


def test_the_manifest_of_the_stimuli_names_the_same_textures(shared: Path) -> None:
    with (shared / "data" / "cue_conflict" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert all(texture_category(row["file"]) == row["texture_category"] for row in rows)


def test_only_pictures_in_conflict_count_and_only_answers_by_shape_or_texture() -> None:
    items = [("cat", "dog"), ("cat", "cat"), ("dog", "car"), ("dog", "car"), ("dog", "cat")]
    told = conflict(panel({"a": ["cat", "cat", "car", "na", "truck"]}, items))

    counted = votes(told, np.ones((1, 4)))

    assert [float(each[0, 0]) for each in counted.columns] == [1, 1, 4]
    assert counted.bias[0, 0] == 0.5


def test_without_an_answer_by_shape_or_texture_the_bias_is_undefined() -> None:
    told = conflict(panel({"a": ["na"]}, [("cat", "dog")]))

    assert np.isnan(votes(told, np.ones((1, 1))).bias[0, 0])


def test_pooled_trials_are_not_averaged_subjects() -> None:
    items = [("cat", "dog")] * 3
    told = conflict(panel({"a": ["cat"] * 3, "b": ["dog", "na", "na"]}, items))

    counted = votes(told, np.ones((1, 3)))

    assert counted.pooled.bias[0, 0] == 0.75
    assert counted.bias.mean() == 0.5


def test_a_name_without_a_texture_is_refused() -> None:
    with pytest.raises(BadTrials) as refused:
        conflict(panel({"a": ["cat"]}, [("cat", "lamp")]))

    assert str(refused.value) == (
        "cue-conflict/all, picture cat0-lamp0.png: its name gives the texture 'lamp', which is no "
        "category; name cue-conflict pictures SHAPE-TEXTURE.png, such as dog10-bird2.png."
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["cat", "dog", "car"]), st.sampled_from(["cat", "dog", "car"]), ANSWERS
        ),
        min_size=1,
        max_size=20,
    )
)
def test_counts_are_what_a_loop_over_trials_counts(trials: list[tuple[str, str, str]]) -> None:
    answers = [answer for *_, answer in trials]
    told = conflict(panel({"a": answers}, [(shape, cue) for shape, cue, _ in trials]))

    counted = votes(told, np.ones((1, len(told.panel.images))))

    apart = [each for each in trials if each[0] != each[1]]
    by_shape = sum(answer == shape for shape, _, answer in apart)
    by_texture = sum(answer == cue for _, cue, answer in apart)
    assert [float(each[0, 0]) for each in counted.columns] == [by_shape, by_texture, len(apart)]
