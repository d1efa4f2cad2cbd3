from __future__ import annotations

from pathlib import Path

import pytest

from visual_memory_benchmarks.errors import BadFile, BadTrials
from visual_memory_benchmarks.metrics.developmental import (
    LEVELS,
    SHAPE_BIAS,
    read,
    shape_bias,
)

HEADER = "subj,trial,rt,object_response,category,imagename,age,block,difficulty"


def line(subject: str, response: str, category: str, level: str, image: str) -> str:
    name = f"0001_cc_{subject}_{level}_{category}_00_{image}"
    return f"{subject},1,0.9,{response},{category},{name},5,1,{level}"


def table(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_shape_bias_is_of_the_conflicting_pictures_and_pooled(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        line("s1", "cat", "cat", "0", "cat1.png"),
        line("s1", "cat", "cat", "1", "cat1-dog1.png"),
        line("s1", "cat", "cat", "1", "cat2-dog1.png"),
        line("s1", "dog", "cat", "1", "cat3-dog1.png"),
        line("s2", "dog", "cat", "1", "cat1-dog1.png"),
        line("s2", "na", "cat", "1", "cat4-dog1.png"),
        line("s3", "na", "cat", "1", "cat4-dog1.png"),
    )

    found = shape_bias(read(path))

    assert (found.subjects, found.trials, found.shape, found.texture) == (3, 6, 2, 2)
    assert found.pooled == 0.5
    assert found.mean_over_subjects == pytest.approx((2 / 3 + 0) / 2)  # s3 has none


def test_without_conflicting_pictures_there_is_no_bias(tmp_path: Path) -> None:
    found = shape_bias(read(table(tmp_path, line("s1", "cat", "cat", "0", "cat1.png"))))

    assert (found.trials, found.pooled, found.mean_over_subjects) == (0, None, None)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (line("s1", "lamp", "cat", "0", "cat1.png"), "the response 'lamp' is unknown"),
        (line("s1", "cat", "lamp", "0", "cat1.png"), "the category 'lamp' is unknown"),
        (
            "s1,1,0.9,cat,cat,0001_cc_cat1.png,5,1,0",
            "the image name '0001_cc_cat1.png' has no fourth part, which is the level",
        ),
        ("s1,1,0.9", "3 fields where the header has 9"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(tmp_path: Path, bad: str, sentence: str) -> None:
    path = table(tmp_path, bad)

    with pytest.raises(BadTrials) as refusal:
        read(path)

    assert str(refusal.value) == f"{path}, line 2: {sentence}; correct or remove it."


def test_the_fourth_part_of_a_name_is_the_level(tmp_path: Path) -> None:
    path = table(tmp_path, "s1,1,0.9,cat,cat,0001_cc_s1_16,5,1,0", header=f"\ufeff{HEADER}")

    assert read(path).levels.tolist() == ["16"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", f"the header is another; write {HEADER}."),
        ("subj,trial\n", f"the header is another; write {HEADER}."),
        (f"{HEADER}\n", "it has no trials; fetch it again."),
    ],
)
def test_another_header_or_no_trials_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)

    with pytest.raises(BadFile) as refusal:
        read(path)

    assert str(refusal.value) == f"{path}: {sentence}"


def test_children_prefer_shape_as_adults_do_and_networks_do_not() -> None:
    bias = {name: row.pooled or 0 for name, row in SHAPE_BIAS.items()}

    assert round(bias["4_6"], 5) == 0.87553
    assert round(bias["adults"], 5) == 0.96721
    networks = [value for name, value in bias.items() if name.startswith("model")]
    assert max(networks) < min(value for name, value in bias.items() if "model" not in name)


def test_every_group_is_there_for_both_distortions() -> None:
    assert {group for _, group in LEVELS} == set(SHAPE_BIAS)
    assert {kind: len(row) for (kind, _), row in LEVELS.items()} == {"eidolon": 4, "noise": 4}
