"""The estimator is one of scikit-learn's, and decides as the client does."""

from __future__ import annotations

import gc
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import make_blobs
from sklearn.model_selection import (
    GridSearchCV,
    LeaveOneOut,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from tests.api_keys import add
from tests.conftest import Server

import visual_memory
from visual_memory import Client
from visual_memory.sklearn import VisualMemoryClassifier, own_server

Rows = NDArray[np.float64]


@pytest.fixture(scope="module")
def blobs() -> tuple[Rows, NDArray[np.str_]]:
    rows, numbers = make_blobs(60, 5, centers=3, cluster_std=4.0, random_state=1)
    return rows, np.array(["ant", "bee", "cat"])[numbers]


@pytest.fixture
def client() -> Iterator[Client]:
    with visual_memory.connect() as client:
        yield client


def test_scikit_learn_finds_nothing_that_an_estimator_must_not_do() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks about numbers of threads and libraries
        checks = check_estimator(VisualMemoryClassifier(), on_fail=None, on_skip=None)

    not_passed = {each["check_name"] for each in checks if each["status"] != "passed"}
    assert not_passed <= {  # both need what is not installed
        "check_array_api_input",
        "check_classifier_data_not_an_array",
    }
    assert len(checks) > 40


def test_a_grid_search_finds_what_a_loop_over_the_client_finds(
    blobs: tuple[Rows, NDArray[np.str_]], client: Client
) -> None:
    X, y = blobs
    grid = {"k": [1, 5, 20], "voting": ["plurality", "distance", "rank"]}
    folds = list(StratifiedKFold(4).split(X, y))

    search = GridSearchCV(VisualMemoryClassifier(), grid, cv=folds).fit(X, y)

    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        right = []
        for at, (known, asked) in enumerate(folds):
            memory = client.create_memory(
                f"fold-{at}-{params['k']}-{params['voting']}", dimension=5
            )
            memory.insert(vectors=X[known], labels=y[known].tolist())
            decisions = memory.classify(vectors=X[asked], **params)
            right.append(np.mean([each.label for each in decisions] == y[asked]))
        assert score == pytest.approx(np.mean(right), abs=0)
    assert len(search.cv_results_["params"]) == 9


def test_leaving_one_out_is_as_making_the_memory_anew_without_it(
    blobs: tuple[Rows, NDArray[np.str_]],
) -> None:
    X, y = blobs
    classifier = VisualMemoryClassifier(k=7, voting="distance")

    left_out = cross_val_predict(classifier, X, y, cv=LeaveOneOut())

    assert np.array_equal(classifier.fit(X, y).leave_one_out(), left_out)
    assert not np.array_equal(left_out, y)  # or nothing would be shown


def test_a_pipeline_is_scored(blobs: tuple[Rows, NDArray[np.str_]]) -> None:
    pipeline = make_pipeline(StandardScaler(), VisualMemoryClassifier(k=5))

    assert cross_val_score(pipeline, *blobs, cv=3).mean() > 0.6


def test_shares_are_of_the_votes(blobs: tuple[Rows, NDArray[np.str_]]) -> None:
    X, y = blobs
    fitted = VisualMemoryClassifier(k=9, voting="softmax", temperature=0.1).fit(X, y)
    decisions = fitted.memory_.classify(vectors=X, k=9, voting="softmax", temperature=0.1)

    shares = fitted.predict_proba(X)

    for row, decision in zip(shares, decisions, strict=True):
        total = sum(decision.scores.values())
        for label, share in zip(fitted.classes_, row, strict=True):
            assert share == pytest.approx(decision.scores.get(label, 0.0) / total)


def test_calibrated_shares_are_those_of_calibrated_decisions(
    blobs: tuple[Rows, NDArray[np.str_]],
) -> None:
    X, y = blobs
    fitted = VisualMemoryClassifier(k=9, calibrated=True).fit(X, y)
    decisions = fitted.memory_.classify(vectors=X, k=9, voting="rank", calibrated=True)

    shares = fitted.predict_proba(X)

    assert np.allclose(shares.sum(axis=1), 1)
    for row, decision in zip(shares, decisions, strict=True):
        at = list(fitted.classes_).index(decision.label)
        assert row[at] == pytest.approx(decision.calibrated_confidence)


def test_neighbours_are_those_by_cosine_distance(
    blobs: tuple[Rows, NDArray[np.str_]],
) -> None:
    X, y = blobs
    fitted = VisualMemoryClassifier(k=4).fit(X, y)
    reference = NearestNeighbors(n_neighbors=4, metric="cosine").fit(X)

    for asked in (X[::3] + 0.1, None):
        distances, numbers = fitted.kneighbors(asked)
        expected, places = reference.kneighbors(asked)
        assert np.array_equal(numbers, places)
        assert np.allclose(distances, expected, atol=1e-6)
    with pytest.raises(ValueError, match="from 1 to 59, but is 60"):
        fitted.kneighbors(None, 60)


def test_what_is_added_in_parts_is_as_if_it_came_at_once(
    blobs: tuple[Rows, NDArray[np.str_]],
) -> None:
    X, y = blobs
    parts = VisualMemoryClassifier().partial_fit(X[:20], y[:20], classes=np.unique(y))
    parts.partial_fit(X[20:], y[20:])

    assert np.array_equal(
        parts.predict_proba(X), VisualMemoryClassifier().fit(X, y).predict_proba(X)
    )
    with pytest.raises(ValueError, match="none of the classes"):
        parts.partial_fit(X[:1], ["dog"])
    with pytest.raises(ValueError, match="classes must be given"):
        VisualMemoryClassifier().partial_fit(X, y)


def test_rows_of_zeros_are_alike_and_far_from_all_others() -> None:
    X = np.array([[0, 0], [0, 0], [1, 0], [0, 2]])
    fitted = VisualMemoryClassifier(k=1).fit(X, ["none", "none", "right", "up"])

    assert list(fitted.predict([[0, 0], [3, 1], [1, 3]])) == ["none", "right", "up"]
    distances, _ = fitted.kneighbors([[0, 0]], 4)
    assert np.allclose(distances, [[0, 0, 1, 1]])
    later = VisualMemoryClassifier(k=1).fit(X[2:], ["right", "up"])
    for call in (later.predict, lambda rows: later.partial_fit(rows, ["up", "up"])):
        with pytest.raises(ValueError, match=r"X\[1\] is all zeros, which has no direction"):
            call([[1, 0], [0, 0]])


@pytest.mark.parametrize("labels", [[3, 1, 3], [1.0, 2.0, 1.0], [True, False, True]])
def test_labels_come_back_as_what_they_were(labels: list[Any]) -> None:
    fitted = VisualMemoryClassifier(k=1).fit(np.eye(3), labels)

    answered = fitted.predict(np.eye(3))

    assert answered.tolist() == labels
    assert answered.dtype == np.array(labels).dtype


def test_a_copy_has_a_memory_of_its_own_and_both_end_with_their_estimators(
    blobs: tuple[Rows, NDArray[np.str_]],
) -> None:
    X, y = blobs
    fitted = VisualMemoryClassifier().fit(X, y)
    copy = pickle.loads(pickle.dumps(fitted))
    names = {fitted.memory_.name, copy.memory_.name}
    expected = fitted.predict_proba(X)

    assert len(names) == 2
    assert names <= {each.name for each in own_server().memories()}
    del fitted
    gc.collect()
    assert np.array_equal(copy.predict_proba(X), expected)
    former = copy.memory_.name
    copy.fit(X, y)
    assert names.isdisjoint(each.name for each in own_server().memories())
    assert copy.memory_.name != former


def test_a_running_server_is_asked_with_a_key_and_keeps_nothing(
    tmp_path: Any, blobs: tuple[Rows, NDArray[np.str_]]
) -> None:
    X, y = blobs
    key = add(tmp_path / "data", "lab", "admin")
    (tmp_path / "lab.key").write_text(f"{key}\n")
    (tmp_path / "lab.key").chmod(0o600)
    server = Server(tmp_path / "data", "--erasure", "files")
    try:
        classifier = VisualMemoryClassifier(
            server=server.address, api_key_file=str(tmp_path / "lab.key")
        ).fit(X, y)
        assert key not in repr(classifier)
        with visual_memory.connect(server.address, api_key=key) as client:
            assert [each.name for each in client.memories()] == [classifier.memory_.name]
            assert len(classifier.predict(X)) == len(X)
            del classifier
            gc.collect()
            assert list(client.memories()) == []
    finally:
        server.end()
