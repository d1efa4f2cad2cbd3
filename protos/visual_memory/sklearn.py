"""A classifier for scikit-learn whose training set is a memory; needs the extra ``sklearn``."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from weakref import finalize

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from visual_memory.client import Client, Memory, connect
from visual_memory.errors import Error
from visual_memory.files import read_file
from visual_memory.types import Decision

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

TEMPORARY = "sklearn-"  # before the random name of a memory that ends with its estimator


# scikit-learn has no types.
class VisualMemoryClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifies vectors by the vote of their nearest neighbours, in a memory of a server.

    ``fit`` makes a memory of the rows of X (n, d), which is dropped with the estimator. Distances
    are cosine distances; that of a row of zeros to all other rows is 1. ``server``, HOST:PORT, has
    the memory; by default that is a server of this process, which needs the extra ``cpu`` and ends
    with it. ``api_key_file`` and ``root_certificates`` are paths, as of the commands. The other
    parameters are the rule of ``Memory.classify``; None is as there.

    With ``calibrated``, ``fit`` calibrates the memory by its own rows, and ``predict_proba`` gives
    the predicted label its calibrated confidence, and the others the rest in proportion to their
    votes. A pickle holds the rows, and makes a memory of its own when it is loaded.

    Attributes: ``classes_`` (labels, sorted), ``n_features_in_``, and ``memory_``, the memory, for
    all that the client does: explain, prune, unlearn. Its ids are the numbers of rows; where X has
    rows of zeros its vectors have one more dimension, which is 1 for these.
    """

    classes_: NDArray[Any]
    memory_: Memory
    _rows: NDArray[np.float32]  # of length 1
    _y: NDArray[Any]
    _has_zeros: bool
    _dropping: finalize[..., VisualMemoryClassifier]

    def __init__(
        self,
        *,
        k: int = 50,
        voting: str = "rank",
        temperature: float | None = None,
        balance: float | None = None,
        head: str | None = None,
        ridge: float | None = None,
        head_temperature: float | None = None,
        blend: float | None = None,
        calibrated: bool = False,
        server: str | None = None,
        api_key_file: str | None = None,
        root_certificates: str | None = None,
    ) -> None:
        self.k = k
        self.voting = voting
        self.temperature = temperature
        self.balance = balance
        self.head = head
        self.ridge = ridge
        self.head_temperature = head_temperature
        self.blend = blend
        self.calibrated = calibrated
        self.server = server
        self.api_key_file = api_key_file
        self.root_certificates = root_certificates

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Make a memory of rows X (n, d) with labels y (n,).

        Raises ValueError for rows that are not finite, and Error as the server does.
        """
        rows, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        return self._remember(rows, labels, unique_labels(labels))

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self:
        """Add rows X (n, d) with labels y (n,) to the memory.

        The first call makes the memory, and must name all ``classes`` that will come. Raises
        ValueError for other labels, for rows of zeros that come later than others, and as ``fit``.
        """
        first = not hasattr(self, "memory_")
        if first and classes is None:
            raise ValueError("classes must be given to the first call of partial_fit.")
        rows, labels = validate_data(self, X, y, dtype=np.float64, reset=first)
        check_classification_targets(labels)
        known = unique_labels(classes) if first else self.classes_
        if not np.isin(labels, known).all():
            raise ValueError(f"y has labels that are none of the classes {known}.")
        if first:
            return self._remember(rows, labels, known)
        self._insert(self._unit(rows), labels)
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the labels (n,) of rows X (n, d).

        Raises ValueError for a row of zeros if ``fit`` has seen none: all rows are as far from it.
        """
        return self._labels(self._decide(self._queries(X)))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the shares of ``classes_`` (n, c) in the votes about rows X (n, d)."""
        return self._shares(self._decide(self._queries(X), calibrated=self.calibrated))

    def leave_one_out(self) -> NDArray[Any]:
        """Return the labels (n,) of the rows of the memory, each decided without its own vote.

        No memory is made anew for it: ``exclude_ids`` leaves out the row.
        """
        check_is_fitted(self)
        asked = enumerate(self._rows)
        return self._labels(
            [self._decide(row[np.newaxis], exclude_ids=[str(at)])[0] for at, row in asked]
        )

    def kneighbors(
        self,
        X: ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> NDArray[np.int64] | tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return distances (n, k), in [0, 2], and numbers (n, k) of the nearest rows.

        Without X those of the memory's rows are returned, of which none is its own neighbour.
        ``n_neighbors`` is ``k`` by default. Raises ValueError if the memory has fewer rows.
        """
        check_is_fitted(self)
        k = self.k if n_neighbors is None else n_neighbors
        queries = self._rows if X is None else self._queries(X)
        most = len(self._rows) - (X is None)
        if not 0 < k <= most:
            raise ValueError(f"n_neighbors must be from 1 to {most}, but is {k}.")
        found = self.memory_.search(vectors=queries, k=k + (X is None))
        distances, numbers = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
        for at, neighbors in enumerate(found):
            near = np.array(neighbors.ids, np.int64)
            kept = np.flatnonzero(near != at)[:k] if X is None else slice(k)
            distances[at], numbers[at] = neighbors.distances[kept], near[kept]
        return (distances, numbers) if return_distance else numbers

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters and what was fitted, but for the memory on the server."""
        state = dict(super().__getstate__())
        for name in ("memory_", "_dropping"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take parameters and what was fitted, and make the memory anew."""
        super().__setstate__(state)
        if hasattr(self, "_rows"):
            rows, y, self._rows = self._rows, self._y, self._rows[:0]
            self._make(rows, y)

    def _remember(self, X: NDArray[np.float64], y: NDArray[Any], classes: NDArray[Any]) -> Self:
        if len(set(map(str, classes))) < len(classes):
            raise ValueError(f"Two of the classes have the same text: {classes}.")
        self.classes_ = classes
        self._has_zeros = not X.any(axis=1).all()
        self._make(self._unit(X), y)
        return self

    def _make(self, rows: NDArray[np.float32], y: NDArray[Any]) -> None:
        if hasattr(self, "_dropping"):
            self._dropping()
        self._rows, self._y = rows[:0], y[:0]
        client, own = self._client()
        name = f"{TEMPORARY}{secrets.token_hex(16)}"
        self.memory_ = client.create_memory(name, dimension=rows.shape[1])
        self._dropping = finalize(self, drop, client, name, close=not own)
        self._dropping.atexit = not own
        self._insert(rows, y)

    def _insert(self, rows: NDArray[np.float32], y: NDArray[Any]) -> None:
        known = len(self._rows)
        self.memory_.insert(
            vectors=rows,
            labels=[str(each) for each in y],
            ids=[str(known + at) for at in range(len(rows))],
        )
        self._rows, self._y = np.concatenate([self._rows, rows]), np.concatenate([self._y, y])
        if self.calibrated:
            self.memory_.calibrate(**self._rule())

    def _client(self) -> tuple[Client, bool]:
        if self.server is None:
            return own_server(), True
        key = None
        if self.api_key_file is not None:
            key = read_file(self.api_key_file, "api_key_file").decode(errors="replace").strip()
        to = connect(self.server, api_key=key, root_certificates=self.root_certificates)
        return to, False

    def _rule(self) -> dict[str, Any]:
        return {
            "k": self.k,
            "voting": self.voting,
            "temperature": self.temperature,
            "balance": self.balance,
            "head": self.head,
            "ridge": self.ridge,
            "head_temperature": self.head_temperature,
            "blend": self.blend,
        }

    def _queries(self, X: ArrayLike) -> NDArray[np.float32]:
        check_is_fitted(self)
        return self._unit(validate_data(self, X, dtype=np.float64, reset=False))

    def _unit(self, X: NDArray[np.float64]) -> NDArray[np.float32]:
        zeros = ~X.any(axis=1)
        if self._has_zeros:
            X = np.column_stack([X, zeros])
        elif zeros.any():
            raise ValueError(
                f"X[{np.argmax(zeros)}] is all zeros, which has no direction, and no such row was "
                "there when the memory was made."
            )
        return unit(X)

    def _decide(self, rows: NDArray[np.float32], **options: Any) -> list[Decision]:
        return self.memory_.classify(vectors=rows, neighbors=1, **self._rule(), **options)

    def _labels(self, decisions: Sequence[Decision]) -> NDArray[Any]:
        of = {str(each): at for at, each in enumerate(self.classes_)}
        return self.classes_[[of[decision.label] for decision in decisions]]

    def _shares(self, decisions: Sequence[Decision]) -> NDArray[np.float64]:
        of = {str(each): at for at, each in enumerate(self.classes_)}
        shares = np.zeros((len(decisions), len(self.classes_)))
        for row, decision in zip(shares, decisions, strict=True):
            for label, score in decision.scores.items():
                row[of[label]] = score
            row /= row.sum()
            if decision.calibrated_confidence is not None:
                give(row, of[decision.label], decision.calibrated_confidence)
        return shares


def unit(X: NDArray[Any]) -> NDArray[np.float32]:
    """Return the directions of rows (n, d), float32, of length 1."""
    largest = np.abs(X).max(axis=1, keepdims=True)
    rows: NDArray[np.float64] = X / largest  # or squares of large numbers were infinite
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def give(shares: NDArray[np.float64], at: int, share: float) -> None:
    """Set the share of one label, and scale those of the others to the rest, in place."""
    rest = 1.0 - shares[at]
    if rest > 0:
        shares *= (1.0 - share) / rest
    elif len(shares) > 1:
        shares += (1.0 - share) / (len(shares) - 1)
    shares[at] = share if len(shares) > 1 else 1.0


def drop(client: Client, name: str, *, close: bool) -> None:
    """Delete the memory of an estimator that is gone, as far as its server still answers."""
    with suppress(Error):
        client.delete_memory(name)
    if close:
        client.close()


_lock = threading.Lock()
_own: dict[int, Client] = {}  # by process, for a forked one needs another


def own_server() -> Client:
    """Return a client of the one server that all estimators of this process share."""
    with _lock:
        if os.getpid() not in _own:
            _own[os.getpid()] = connect()
        return _own[os.getpid()]
