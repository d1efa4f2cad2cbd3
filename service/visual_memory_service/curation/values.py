"""Values: the exact KNN-Shapley value of each entry for queries whose labels are known."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index import Memory, RamCopy, Valuation
from visual_memory_index.records.operation import Progress
from visual_memory_service.runtime.operations import Job, Operations, check_done
from visual_memory_service.runtime.threads import in_thread

PAIRS_AT_ONCE = 12_800_000  # of a query and an entry: 256 queries of 50,000, 16 bytes each


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """The KNN-Shapley value of each voting entry: ``ids`` objects (m,), ``values`` float64 (m,)."""

    ids: NDArray[np.object_]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Valuing:
    """Progress of a valuation, ``done`` of ``total`` queries; ``values`` is None until the end."""

    operation: str
    done: int
    total: int
    values: Values | None = None


async def value_entries(
    k: int,
    queries: NDArray[np.float32] | None,
    labels: Sequence[str],
    memory: Memory,
    operations: Operations,
) -> AsyncGenerator[Valuing, None]:
    """Yield progress, then the KNN-Shapley value of each voting entry, for ``k`` neighbours.

    A value says how much the entry helps to classify ``queries``, unit vectors (n, d) with their
    true ``labels``, or without queries the other entries. Closing the generator cancels the
    operation. Raises NotDone if the operation fails or another caller cancels it.
    """
    found: list[Values] = []

    def work(job: Job) -> None:
        snapshot = memory.snapshot()
        if queries is None:
            found.append(leave_one_out_values(snapshot, k, job.report_progress))
        else:
            found.append(query_values(snapshot, k, queries, labels, job.report_progress))

    name = (await in_thread(operations.start, memory, "values", work)).name
    try:
        async for done, total in operations.watch(name):
            yield Valuing(name, done, total)
    finally:
        operations.abandon(name)
    await in_thread(check_done, memory, name)
    asked = len(found[0].ids) if queries is None else len(queries)
    yield Valuing(name, asked, asked, found[0])


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
