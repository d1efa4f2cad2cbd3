"""Queries centred by the mean of their domain, asked of a real server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.conftest import RemoteMemory, to_picture

from visual_memory import Client, InvalidArgument, Memory
from visual_memory_index import unit_rows

RNG = np.random.default_rng(3)
LABELS = [str(label) for label in RNG.integers(0, 4, 240)]
CENTRES = RNG.normal(size=(4, 16))
ROWS = CENTRES[[int(label) for label in LABELS]] + 0.5 * RNG.normal(size=(240, 16))
SHIFT = 8.0 * RNG.normal(size=16)
KNOWN, SEEN, ASKED = slice(0, 120), slice(120, 160), slice(160, 240)
SHIFTED = unit_rows((ROWS + SHIFT).astype(np.float32))  # as drawings beside photographs
MEAN = SHIFTED[SEEN].mean(axis=0)


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 120 entries of four labels."""
    crowd = client.create_memory(f"{empty.name}x", dimension=16)
    crowd.insert(vectors=ROWS[KNOWN], labels=LABELS[KNOWN])
    return crowd


def accuracy(crowd: Memory, **how: Any) -> float:
    decisions = crowd.classify(vectors=SHIFTED[ASKED], k=20, **how)
    return float(
        np.mean([d.label == label for d, label in zip(decisions, LABELS[ASKED], strict=True)])
    )


@pytest.mark.parametrize("head", [{}, {"head": "means", "blend": 1.0}])
def test_a_domain_that_lies_apart_is_told_apart_once_it_is_centred(
    crowd: Memory, head: dict[str, Any]
) -> None:
    assert accuracy(crowd, **head) < 0.7
    assert accuracy(crowd, domain_mean=MEAN, **head) > 0.9


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"voting": "softmax", "balance": 0.5},
        {"head": "discriminants"},
        {"filter": 'label = "1" OR label = "2"', "exclude_ids": ["nobody"]},
        {"reliability": "soft"},
        {"min_confidence": 0.9},
    ],
)
def test_a_decision_is_that_of_the_unit_vector_less_the_mean(
    crowd: Memory, how: dict[str, Any]
) -> None:
    units = unit_rows(ROWS[ASKED].astype(np.float32))
    moved = unit_rows((units.astype(np.float64) - MEAN).astype(np.float32))

    centred = crowd.classify(vectors=ROWS[ASKED], k=5, domain_mean=MEAN, **how)

    assert centred == crowd.classify(vectors=moved, k=5, **how)
    assert centred != crowd.classify(vectors=ROWS[ASKED], k=5, **how)


def test_pictures_are_centred_as_their_vectors_are(client: Client, album: RemoteMemory) -> None:
    memory, asked = client.memory(album.name), [to_picture(3), to_picture(4)]
    mean = memory.embed([to_picture(number) for number in range(5, 8)]).mean(axis=0)

    by_pictures = memory.classify(images=asked, domain_mean=mean)

    assert by_pictures == memory.classify(vectors=memory.embed(asked), domain_mean=mean.tolist())
    assert by_pictures != memory.classify(images=asked)


@pytest.mark.parametrize(
    ("mean", "sentence"),
    [
        (np.zeros(16), "domain_mean must be the mean of unit vectors, .* but is 0 long"),
        (np.full(16, np.nan), "domain_mean must be the mean of unit vectors, .* but is nan long"),
        (np.full(16, np.inf), "domain_mean must be the mean of unit vectors, .* but is inf long"),
        (np.ones(16), "so longer than 0 and at most 1 long, but is 4 long"),
        (SHIFTED[SEEN], r"domain_mean must be a vector \(d,\), but has the shape \(40, 16\)"),
        ([], r"domain_mean must be a vector \(d,\), but has the shape \(0,\)"),
        (["a"], "domain_mean must be a vector of numbers, but is"),
    ],
)
def test_a_mean_that_is_none_is_refused_by_name(crowd: Memory, mean: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence) as refused:
        crowd.classify(vectors=ROWS[ASKED], domain_mean=mean)

    assert [path for path, _ in refused.value.field_violations] == ["domain_mean"]


@pytest.mark.parametrize("mean", [MEAN[:5], np.ones(5), np.zeros(17)])
def test_a_mean_of_another_dimension_is_refused_as_vectors_of_one_are(
    crowd: Memory, mean: NDArray[np.float64]
) -> None:
    sentence = f"^The domain_mean has dimension {len(mean)}, but this memory holds 16.$"
    with pytest.raises(InvalidArgument, match=sentence) as refused:
        crowd.classify(vectors=ROWS[ASKED], domain_mean=mean)

    assert refused.value.reason == "WRONG_DIMENSION"
    assert [path for path, _ in refused.value.field_violations] == ["domain_mean"]


def test_a_query_that_is_the_mean_itself_is_refused_by_number(crowd: Memory) -> None:
    rows = SHIFTED[ASKED].copy()
    rows[[4, 7]] = SHIFTED[0]

    with pytest.raises(InvalidArgument, match="several pictures") as refused:
        crowd.classify(vectors=rows, domain_mean=SHIFTED[0] + np.float32(1e-7))

    assert [path for path, _ in refused.value.field_violations] == ["vectors[4]"]


@pytest.mark.parametrize("wish", [{"calibrated": True}, {"coverage": 0.9}])
def test_centred_queries_carry_nothing_of_a_calibration_of_others(
    crowd: Memory, wish: dict[str, Any]
) -> None:
    crowd.calibrate(k=20)

    with pytest.raises(InvalidArgument, match="domain_mean moves queries away"):
        crowd.classify(vectors=ROWS[ASKED], k=20, domain_mean=MEAN, **wish)
