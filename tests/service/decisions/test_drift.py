"""Drift, as memories tell it after calibrated queries of a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.conftest import RemoteMemory, Server, to_vectors
from tests.service.decisions.test_calibration import (
    ASKED,
    CENTRES,
    HELD,
    KNOWN,
    LABELS,
    NOISE,
    ROWS,
)

import visual_memory
from visual_memory import Client, Memory
from visual_memory.types import Decision, DriftState
from visual_memory.v1 import service_pb2 as pb
from visual_memory_index.votes.drift import drift

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Start

FAR = 0.3 * NOISE - CENTRES.mean(axis=0)  # opposite of all labels
QUERIES = np.concatenate([ROWS[ASKED], FAR[ASKED]])[np.random.default_rng(7).permutation(140)]


@pytest.fixture
def crowd(client: Client, empty: RemoteMemory) -> Memory:
    """A memory of 150 entries of four labels, calibrated by 80 queries."""
    return calibrated(client.create_memory(f"{empty.name}x", dimension=16))


def calibrated(crowd: Memory) -> Memory:
    crowd.insert(vectors=ROWS[KNOWN], labels=LABELS[KNOWN])
    crowd.calibrate(k=20, vectors=ROWS[HELD], labels=LABELS[HELD])
    return crowd


def ask(crowd: Memory, rows: Any, **how: Any) -> list[Decision]:
    return crowd.classify(vectors=rows, k=20, **{"calibrated": True, **how})


def drift_of(crowd: Memory) -> DriftState:
    """Return the drift of a memory; assert that it is that of as many rejections of 80 queries."""
    state = crowd.info().drift
    assert state is not None
    told = drift(state.count, state.rejected, 80)
    assert (state.expected, state.p_value) == (told.expected, told.p_value)
    assert state.drifting == told.drifting
    return state


def test_a_memory_without_calibration_tells_no_drift(client: Client, empty: RemoteMemory) -> None:
    assert client.memory(empty.name).info().drift is None


def test_a_calibrated_memory_that_was_asked_nothing_does_not_drift(crowd: Memory) -> None:
    assert drift_of(crowd) == DriftState(0, 0, 0.0, 1.0, drifting=False)


def test_queries_unlike_those_of_the_calibration_raise_it_and_others_end_it(
    client: Client, crowd: Memory
) -> None:
    ask(crowd, ROWS[ASKED][:20])
    before = drift_of(crowd)
    ask(crowd, FAR[:8])
    during = drift_of(crowd)
    (listed,) = [each.drift for each in client.memories() if each.name == crowd.name]
    ask(crowd, ROWS[ASKED][:20])

    assert (before.count, before.drifting) == (20, False)
    assert (during.count, during.drifting) == (20, True)
    assert during.rejected >= 8
    assert listed == during
    after = drift_of(crowd)  # messages overlap, so the last 20 queries may be others
    assert (after.count, after.drifting) == (20, False)


@pytest.mark.parametrize("size", [1, 7, 140])
def test_it_counts_the_rejections_of_the_last_twenty_answers(
    server: Server, crowd: Memory, size: int
) -> None:
    """One message each: a client cuts many queries into several, answered in any order."""
    rejected: list[bool] = []
    for start in range(0, len(QUERIES), size):
        rows = to_vectors(QUERIES[start : start + size])
        request = pb.ClassifyRequest(memory=crowd.name, vectors=rows, k=20, calibrated=True)
        rejected += [each.rejected for each in server.stub.Classify(request).decisions]
        state = drift_of(crowd)

        last = rejected[-20:]
        assert (state.count, state.rejected) == (len(last), sum(last))
    assert 0 < sum(rejected) < 140


@pytest.mark.parametrize(
    "how",
    [
        {"calibrated": False},
        {"calibrated": False, "coverage": 0.9},
        {"filter": 'label = "1"'},
        {"exclude_ids": ["nobody"]},
    ],
)
def test_queries_that_are_not_compared_with_the_calibration_do_not_count(
    crowd: Memory, how: dict[str, Any]
) -> None:
    ask(crowd, FAR[:20], **how)

    assert drift_of(crowd).count == 0


def test_decisions_by_a_head_count_as_well(crowd: Memory) -> None:
    crowd.calibrate(k=20, head="means", vectors=ROWS[HELD], labels=LABELS[HELD])
    rejected = [each.rejected for each in ask(crowd, QUERIES[:20], head="means")]

    assert (drift_of(crowd).count, drift_of(crowd).rejected) == (20, sum(rejected))


def test_queries_that_are_refused_do_not_count(crowd: Memory) -> None:
    with pytest.raises(visual_memory.FailedPrecondition):
        ask(crowd, FAR[:20], voting="plurality")

    assert drift_of(crowd).count == 0


def test_a_new_calibration_forgets_the_queries_before(crowd: Memory) -> None:
    ask(crowd, FAR[:20])
    crowd.calibrate(k=20, vectors=ROWS[HELD], labels=LABELS[HELD])
    forgotten = drift_of(crowd)
    ask(crowd, FAR[:3])

    assert (forgotten.count, drift_of(crowd).count) == (0, 3)


def test_other_settings_and_edits_forget_no_query(crowd: Memory) -> None:
    ask(crowd, FAR[:5])
    crowd.set_taxonomy({"1": "ones"})
    crowd.insert(vectors=ROWS[ASKED], labels=LABELS[ASKED])
    ask(crowd, FAR[:3])

    assert (drift_of(crowd).count, drift_of(crowd).rejected) == (8, 8)


def test_an_unlearning_that_drops_the_calibration_drops_its_drift(crowd: Memory) -> None:
    ask(crowd, FAR[:5])
    crowd.unlearn([next(iter(crowd.entries())).id])

    assert crowd.info().drift is None


def test_a_copy_and_a_restart_begin_without_queries(start: Start, tmp_path: Path) -> None:
    server = start(tmp_path)
    with visual_memory.connect(server.address) as client:
        crowd = calibrated(client.create_memory("crowd", dimension=16))
        ask(crowd, FAR[:20])
        assert drift_of(client.copy("crowd", "copied")).count == 0
        assert drift_of(crowd).drifting

    server.restart()
    with visual_memory.connect(server.address) as client:
        assert drift_of(client.memory("crowd")).count == 0


def test_callers_at_once_lose_no_query(crowd: Memory) -> None:
    rows = np.concatenate([FAR[:6], ROWS[ASKED][:12]])

    with ThreadPoolExecutor(6) as threads:
        answers = [threads.submit(ask, crowd, rows[[at]]) for at in range(len(rows))]
        rejected = sum(each.result()[0].rejected for each in answers)

    assert (drift_of(crowd).count, drift_of(crowd).rejected) == (18, rejected)
