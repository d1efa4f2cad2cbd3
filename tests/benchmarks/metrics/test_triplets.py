from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_benchmarks.errors import BadFile
from visual_memory_benchmarks.metrics.triplets import Triplet, agreed, answers, closer, read

ROWS = {"o": 0, "y": 1, "z": 2, "w": 3}
VECTORS = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0.8, -0.6]])


def test_triplets_are_read(tmp_path: Path) -> None:
    path = tmp_path / "triplets.csv"
    path.write_text("\ufeffo,y,z,answer\na,b,ç,y\n\na,ç,b,z\n", encoding="utf-8")

    assert read(path) == [Triplet("a", "b", "ç", "y"), Triplet("a", "ç", "b", "z")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the header is another; write o,y,z,answer."),
        ("o,y,z\n", "the header is another; write o,y,z,answer."),
        ("o,y,z,answer\n", "it has no triplets; write one a line."),
        (
            "o,y,z,answer\na,b,c,b\n",
            "line 2 is 'a,b,c,b'; write three different pictures and the answer y or z.",
        ),
        (
            "o,y,z,answer\na,b,c,y\na,a,c,y\n",
            "line 3 is 'a,a,c,y'; write three different pictures and the answer y or z.",
        ),
    ],
)
def test_a_bad_file_is_refused_by_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "triplets.csv"
    path.write_text(text)

    with pytest.raises(BadFile) as refusal:
        read(path)

    assert str(refusal.value) == f"{path}: {sentence}"


@pytest.mark.parametrize("data", [None, b"o,y,z,answer\na,b,\xff,y\n", b"x" * 140_000])
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "triplets.csv"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(BadFile, match=r"triplets\.csv: it cannot be read"):
        read(path)


def test_vectors_answer_with_the_closer_picture() -> None:
    asked = [Triplet("o", "y", "z", "y"), Triplet("o", "z", "y", "y"), Triplet("o", "y", "w", "z")]

    found = closer(asked, ROWS, VECTORS)

    assert found.tolist() == [-1, 1, 0]
    assert agreed(found, answers(asked)).mean() == pytest.approx((1 + 0 + 0.5) / 3)


PICTURES = st.lists(st.floats(0, 6), min_size=3, max_size=6, unique=True)


@given(PICTURES, st.data())
def test_accuracy_is_what_a_loop_over_triplets_counts(
    angles: list[float], data: st.DataObject
) -> None:
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rows = {str(at): at for at in range(len(angles))}
    three = st.permutations(sorted(rows))
    asked = [
        Triplet(names[0], names[1], names[2], answer)
        for names, answer in data.draw(
            st.lists(st.tuples(three, st.sampled_from("yz")), min_size=1, max_size=10)
        )
    ]

    total = 0.0
    for each in asked:
        o, y, z = (vectors[rows[name]] for name in (each.o, each.y, each.z))
        gap = (1 - (o * y).sum()) - (1 - (o * z).sum())
        if abs(gap) < 1e-9:
            return  # which side rounding falls on is not what is tested
        total += (gap < 0) == (each.answer == "y")

    assert agreed(closer(asked, rows, vectors), answers(asked)).mean() == pytest.approx(
        total / len(asked)
    )


def test_embedders_are_consistent_as_far_as_they_order_alike() -> None:
    asked = [Triplet("o", "y", "z", "y"), Triplet("z", "y", "w", "y")]
    mirrored = VECTORS[[0, 2, 1, 3]]

    one, other = closer(asked, ROWS, VECTORS), closer(asked, ROWS, mirrored)

    assert agreed(one, one).mean() == 1
    assert agreed(one, other).mean() == 0.5
