"""Every pruning method selects entries whatever the order of rows."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from visual_memory_index import unit_rows
from visual_memory_index.curation.prune_methods import (
    Hard,
    Ids,
    Method,
    Prototype,
    Random,
    Value,
    Voters,
)
from visual_memory_index.errors import NotVoting
from visual_memory_index.records.operation import unreported

IDS = np.array([f"{row:02}" for row in range(20)], object)
LABELS = np.array(["cat", "dog"] * 10, object)
VECTORS = unit_rows(np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32))
V, C = np.arange(20) % 7, np.arange(20) % 3
VALUES = np.arange(20) % 5 / 5.0

TAKEN = {
    Hard(3, 6, minus_correct=False): ["06", "13"],
    Hard(3, 5, minus_correct=True): ["06", "12", "13"],
    Random(0.1, seed=0): ["03", "09"],
    Random(0.1, seed=1): ["15", "18"],
    Prototype(0.1, clusters=0, keep="easy", balance=0.0, seed=0): ["02", "14"],
    Prototype(0.1, clusters=0, keep="easy", balance=1.0, seed=0): ["02", "15"],
    Prototype(0.1, clusters=3, keep="hard", balance=0.0, seed=0): ["01", "07"],
    Value(0.1, k=3): ["00", "05"],
    Ids(("13", "02", "13")): ["02", "13"],
    Ids(()): [],
}


def voters(order: NDArray[np.intp]) -> Voters:
    """Return the entries in some order of rows, with counts and values for k = 3 alone."""
    return Voters(
        IDS[order],
        LABELS[order],
        vectors=lambda: VECTORS[order],
        counts=lambda k: {3: (V[order], C[order])}[k],
        values=lambda k: {3: VALUES[order]}[k],
        on_progress=unreported,
    )


@pytest.mark.parametrize("method", TAKEN, ids=repr)
def test_a_method_takes_the_same_entries_whatever_the_order_of_rows(method: Method) -> None:
    for seed in range(5):
        asked = voters(np.random.default_rng(seed).permutation(20))

        rows = method.rows(asked)

        assert sorted(asked.ids[rows]) == TAKEN[method]


def test_every_method_is_tried() -> None:
    assert {type(method) for method in TAKEN} == set(get_args(Method))


def test_whoever_finds_prototypes_says_how_far_it_is_and_can_be_stopped() -> None:
    def stop(done: int, total: int) -> None:
        raise InterruptedError(f"{done} of {total}")

    asked = dataclasses.replace(voters(np.arange(20)), on_progress=stop)

    with pytest.raises(InterruptedError, match="20 of 420"):
        Prototype(0.1, clusters=3, keep="hard", balance=0.0, seed=0).rows(asked)


def test_ids_that_do_not_vote_are_named() -> None:
    with pytest.raises(NotVoting, match=r": nobody, 99\.$"):
        Ids(["nobody", "01", "99"]).rows(voters(np.arange(20)))
