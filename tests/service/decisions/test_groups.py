"""Entries are parted by their groups at one moment, and the parting can be stopped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from tests.service.decisions.film import TAKES, film, filmed, watched

from visual_memory_index import Entry, Memory, Rule, unit_rows
from visual_memory_index.store.store import new_identity
from visual_memory_index.votes import conformal
from visual_memory_index.votes.coverage import distance_from_memory
from visual_memory_index.votes.drift import P_VALUE_MAX, WINDOW, drift
from visual_memory_service.decisions.calibration import (
    SETTING,
    Calibration,
    calibrate_memory,
    own_shares,
)
from visual_memory_service.decisions.groups import entries_by
from visual_memory_service.decisions.held_out import ask
from visual_memory_service.decisions.tune import tune_memory
from visual_memory_service.runtime.operations import Cancelled, Job

WORKS: list[tuple[str, Callable[[Job], object]]] = [
    ("tune", partial(tune_memory, measure="accuracy", group_by="scene", apply=True)),
    ("tune", partial(tune_memory, measure="accuracy", group_by="", apply=True)),
    (
        "calibrate",
        partial(calibrate_memory, rule=Rule(k=5), queries=None, labels=(), group_by="scene"),
    ),
]


@pytest.mark.parametrize(("kind", "work"), WORKS)
def test_an_operation_that_is_cancelled_ends_while_it_parts_the_entries(
    tmp_path: Path, kind: str, work: Callable[[Job], object]
) -> None:
    asked: list[tuple[int, int]] = []
    with filmed(tmp_path) as memory:
        job = watched(memory, kind, lambda *progress: asked.append(progress))
        job.cancelled.set()

        with pytest.raises(Cancelled):
            work(job)

    assert asked == []


def test_groups_are_of_the_entries_that_they_come_with_whatever_is_written(tmp_path: Path) -> None:
    """A scene is written as a whole, so it is there as a whole, or not at all."""
    over = Event()
    with filmed(tmp_path) as memory, ThreadPoolExecutor(1) as threads:

        def write() -> None:
            scene = 30
            while not over.is_set():
                film(memory, range(scene, scene + 1))
                memory.delete([f"{take} {scene - 20:03}" for take in range(TAKES)])
                scene += 1

        writing = threads.submit(write)
        found = []
        try:
            for _ in range(40):
                snapshot, group_of = entries_by("scene", memory)
                found.append((snapshot.revision, snapshot.columns()[0].tolist(), group_of or {}))
        finally:
            over.set()
        writing.result()

    assert len({revision for revision, _, _ in found}) > 1
    for _, ids, group_of in found:
        assert sorted(ids) == sorted(group_of)
        assert set(Counter(group_of.values()).values()) == {TAKES}
        assert all(int(id.split()[1]) == int(scene) for id, scene in group_of.items())


def changed(memory: Memory) -> None:
    """Delete half of the takes of ten scenes, and insert other scenes."""
    memory.delete([f"{take} {scene:03}" for scene in range(10) for take in (1, 2)])
    film(memory, range(30, 60))


def result(memory: Memory, kind: str, work: Callable[[Job], object]) -> Any:
    job = watched(memory, kind, lambda done, total: None)
    work(job)
    return json.loads(memory.operations.get(job.name).result or "")


@pytest.mark.parametrize(("kind", "work"), [WORKS[0], WORKS[2]])
def test_an_operation_beside_a_write_is_as_before_or_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, work: Callable[[Job], object]
) -> None:
    expected = []
    for change in (False, True):
        (tmp_path / f"{change}").mkdir()
        with filmed(tmp_path / f"{change}") as memory:
            if change:
                changed(memory)
            expected.append(result(memory, kind, work))

    with filmed(tmp_path) as memory, ThreadPoolExecutor(1) as threads:
        writes: list[Future[None]] = []

        def then_write(read: Callable[..., Any], *given: Any) -> Any:
            """Read, then give a write the time to come before what is read next."""
            found = read(*given)
            if not writes:
                writes.append(threads.submit(changed, memory))
                wait(writes, timeout=0.5)
            return found

        store = memory._engine.store
        monkeypatch.setattr(store, "metadata_values", partial(then_write, store.metadata_values))
        monkeypatch.setattr(memory, "snapshot", partial(then_write, memory.snapshot))
        found = result(memory, kind, work)
        writes[0].result()

    assert counts(expected[0]) != counts(expected[1])
    assert counts(found) in map(counts, expected)


def counts(found: dict[str, Any]) -> list[int]:
    """Return what a result counts, and a distance in units that rounding does not reach."""
    distance = found.get("rejection_distance", 0.0)
    return [found["count"], found.get("group_count", 0), round(1e6 * distance)]


def test_one_picture_of_each_scene_counts_for_sets_over_all_and_one_of_each_label_in_it_by_label(
    tmp_path: Path,
) -> None:
    with filmed(tmp_path) as memory:
        for scene in range(30):
            memory.update(f"0 {scene:03}", label="owl")
        memory.update("1 000", label="fox")
        result(memory, *WORKS[2])
        calibration = Calibration.from_json(memory.setting(SETTING) or "")

    assert calibration is not None
    assert calibration.group_count == 30
    assert {name: len(each) for name, each in calibration.scores_over_all.items()} == {
        "lac": 30,
        "randomized_aps": 30,
    }
    for each in calibration.scores.values():
        assert {label: len(scores) for label, scores in each.items()} == {
            "cat": 15,
            "dog": 15,
            "owl": 30,
        }


def test_the_error_after_is_the_same_in_whatever_order_equal_vectors_came(tmp_path: Path) -> None:
    """Of three copies of each picture one has a wrong label."""
    rng = np.random.default_rng(0)
    vectors = unit_rows(np.repeat(rng.normal(size=(20, 8)), 3, axis=0).astype(np.float32))
    labels = [("cat", "dog")[(at // 3 + (at % 3 == 2)) % 2] for at in range(60)]
    told = set()
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(60).tolist()
        path = tmp_path / f"{seed}.sqlite"
        with closing(Memory.create(path, new_identity("m", 8, None))) as memory:
            memory.insert([Entry(f"{at:02}", labels[at]) for at in order], vectors[order])
            alone = partial(calibrate_memory, rule=Rule(k=1), queries=None, labels=(), group_by="")
            told.add(result(memory, "calibrate", alone)["error_after"])

    assert len(told) == 1


def test_sets_by_label_cover_new_scenes_after_a_calibration_by_scenes(tmp_path: Path) -> None:
    """By the scores of all frames .8 was wanted, and .75 covered."""
    covered = []
    for number in range(40):
        (tmp_path / f"{number}").mkdir()
        with filmed(tmp_path / f"{number}", range(100 * number, 100 * number + 12)) as memory:
            result(memory, *WORKS[2])
            calibration = Calibration.from_json(memory.setting(SETTING) or "")
            assert calibration is not None
            rng = np.random.default_rng(number + 10**6)
            queries = unit_rows(rng.normal(size=(200, 8)).astype(np.float32))
            labels = ["cat", "dog"] * 100
            limits = calibration.limits("lac", 0.8, "label")
            job = watched(memory, "calibrate", lambda done, total: None)
            for each in ask(memory.snapshot(), calibration.rule, queries, job):
                own = [labels[row] for row in each.rows]
                scores = [
                    conformal.lac(d.scores, 0) for d in calibration.rule.decide(each.neighbors)
                ]
                found = map(conformal.own_score, scores, own, own_shares(each.means, own))
                covered += [
                    score <= limits.of(label) for score, label in zip(found, own, strict=True)
                ]

    assert np.mean(covered) > 0.78


def test_new_scenes_hardly_ever_raise_a_drift_after_a_calibration_by_scenes(
    tmp_path: Path,
) -> None:
    """By all frames alike it was raised in about one window of twenty."""
    raised, counts = [], set()
    for number in range(30):
        (tmp_path / f"{number}").mkdir()
        with filmed(tmp_path / f"{number}", range(100 * number, 100 * number + 20)) as memory:
            result(memory, *WORKS[2])
            calibration = Calibration.from_json(memory.setting(SETTING) or "")
            assert calibration is not None
            queries = np.random.default_rng(number + 10**6).normal(size=(20 * WINDOW, 8))
            job = watched(memory, "calibrate", lambda done, total: None)
            near = ask(
                memory.snapshot(), calibration.rule, unit_rows(queries.astype(np.float32)), job
            )
            distances = np.concatenate(
                [
                    distance_from_memory(each.neighbors.distances[:, 0], each.means.distances)
                    for each in near
                ]
            )
        far = (distances > calibration.result.rejection_distance).reshape(20, WINDOW)
        calibrated = calibration.group_count
        counts.add((calibrated, calibration.result.count))
        raised += [
            drift(WINDOW, rejected, calibrated).drifting for rejected in far.sum(axis=1).tolist()
        ]

    assert counts == {(20, 20 * TAKES)}
    assert np.mean(raised) <= 3 * P_VALUE_MAX
