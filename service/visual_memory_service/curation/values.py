"""Values: the exact KNN-Shapley value of each entry for queries whose labels are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import RamCopy, Valuation
from visual_memory_index.records.operation import Progress
from visual_memory_service.runtime.operations import Job

PAIRS_AT_ONCE = 12_800_000  # of a query and an entry: 256 queries of 50,000, 16 bytes each


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """The KNN-Shapley value of each voting entry: ``ids`` objects (m,), ``values`` float64 (m,)."""

    ids: NDArray[np.object_]
    values: NDArray[np.float64]


def value(
    k: int,
    queries: NDArray[np.float32] | None,
    labels: Sequence[str],
    snapshot: RamCopy,
    job: Job,
) -> Values:
    """Return the KNN-Shapley value of each voting entry, for ``k`` neighbours.

    A value says how much the entry helps to classify ``queries``, unit vectors (n, d) with their
    true ``labels``, or without queries the other entries. Raises Cancelled if the job is cancelled.
    """
    if queries is None:
        return leave_one_out_values(snapshot, k, job.report_progress)
    return query_values(snapshot, k, queries, labels, job.report_progress)


def query_values(
    snapshot: RamCopy,
    k: int,
    queries: NDArray[np.float32],
    labels: Sequence[str],
    on_progress: Progress,
) -> Values:
    """Return KNN-Shapley values of the entries for unit ``queries`` (n, d) with true ``labels``.

    ``on_progress`` is called with (done, total) queries, and may raise.
    """
    ids, of_row = snapshot.columns()
    valuation = Valuation(of_row, k)
    step = max(1, PAIRS_AT_ONCE // max(1, len(ids)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        valuation.add(snapshot.ranked(queries[part]), labels[part])
        on_progress(min(start + step, len(queries)), len(queries))
    return Values(ids, valuation.means())


def leave_one_out_values(snapshot: RamCopy, k: int, on_progress: Progress) -> Values:
    """Return KNN-Shapley values with each entry as a query that values all other entries.

    A value is the mean over the queries. ``on_progress`` is called with (done, total) entries, and
    may raise.
    """
    ids, labels = snapshot.columns()
    valuation = Valuation(labels, k)
    by_id = np.argsort(ids)  # sums round alike, whatever the order of rows
    step = max(1, PAIRS_AT_ONCE // max(1, len(ids)))
    for start in range(0, len(ids), step):
        rows = by_id[start : start + step]
        order = snapshot.ranked(snapshot.vectors.gather(rows))
        valuation.add(order, labels[rows].tolist(), rows)
        on_progress(start + len(rows), len(ids))
    return Values(ids, valuation.means())
