from __future__ import annotations

from pathlib import Path

import pytest

from visual_memory_benchmarks.developmental import (
    LEVELS,
    SHAPE_BIAS,
    read,
    shape_bias,
)
from visual_memory_benchmarks.errors import BadFile, BadTrials

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
        (line("s1", "lamp", "cat", "0", "cat1.png"), "line 2: the response 'lamp' is unknown"),
        (line("s1", "cat", "lamp", "0", "cat1.png"), "line 2: the category 'lamp' is unknown"),
        ("s1,1,0.9,cat,cat,cat1.png,5,1,0", "line 2: the image name 'cat1.png' has no fourth"),
        ("s1,1,0.9", "line 2: 3 fields where the header has 9"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(tmp_path: Path, bad: str, sentence: str) -> None:
    with pytest.raises(BadTrials, match=sentence):
        read(table(tmp_path, bad))


def test_another_header_or_no_trials_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="the header is another"):
        read(table(tmp_path, header="subj,trial"))
    with pytest.raises(BadFile, match="it has no trials"):
        read(table(tmp_path))


def test_children_prefer_shape_as_adults_do_and_networks_do_not() -> None:
    bias = {name: row.pooled or 0 for name, row in SHAPE_BIAS.items()}

    assert round(bias["4_6"], 5) == 0.87553
    assert round(bias["adults"], 5) == 0.96721
    networks = [value for name, value in bias.items() if name.startswith("model")]
    assert max(networks) < min(value for name, value in bias.items() if "model" not in name)


def test_every_group_is_there_for_both_distortions() -> None:
    assert {group for _, group in LEVELS} == set(SHAPE_BIAS)
    assert {kind: len(row) for (kind, _), row in LEVELS.items()} == {"eidolon": 4, "noise": 4}
