"""Results as Arrow tables, which pandas and Polars take over, and memories as Parquet files.

Both need the extra ``parquet``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, fields
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from visual_memory.errors import FailedPrecondition, refuse
from visual_memory.files import whole_file
from visual_memory.types import (
    Conflict,
    Decision,
    EmbedderSpec,
    Entry,
    LabelAssessment,
    LabelJudgement,
    Neighbor,
    Suspect,
)

if TYPE_CHECKING:
    import pyarrow

    from visual_memory._transport.imports import Progress
    from visual_memory.client import Memory

BATCH = {False: 4096, True: 64}  # rows at a time, by whether these have pictures: about 20 MiB
EMBEDDER = b"visual_memory.embedder"  # the key of the embedder's spec in the file's metadata
SHA256 = "content_sha256"

Record: TypeAlias = (
    Entry | Decision | Neighbor | Suspect | Conflict | LabelAssessment | LabelJudgement
)
RECORDS = (Entry, Decision, Neighbor, Suspect, Conflict, LabelAssessment, LabelJudgement)


def to_arrow(records: Iterable[Record]) -> pyarrow.Table:
    """Return records of one kind as a table: a row each, and a column for each field.

    Of a decision ``neighbors`` is a list of structs, ``node`` the name, ``reranker`` the re-ranker.
    Metadata, scores and counts are maps. No records are a table without columns. Raises
    InvalidArgument for anything else, FailedPrecondition without pyarrow.
    """
    arrow = _pyarrow()
    rows = list(records)
    if not rows:
        return arrow.table({})
    kind = type(rows[0])
    for at, each in enumerate(rows):
        if not isinstance(each, RECORDS) or type(each) is not kind:
            refuse(f"records[{at}]", f"must be a result like the first, but is {each!r:.80}")
    columns = _columns(arrow)[kind]
    values = {name: [_value(each, name) for each in rows] for name in columns}
    return arrow.Table.from_pydict(values, schema=arrow.schema(list(columns.items())))


def export(
    memory: Memory,
    file: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write all entries to a Parquet file, with vectors and stored pictures; return their number.

    ``visual-memory insert`` makes an equal memory of it. Columns are id, label, vector, metadata,
    create_time, content_sha256, pruned and, where the memory stores them, image; the embedder is in
    the metadata of the file. ``file`` appears once it is complete. ``progress`` is called with
    (entries written, entries). Raises AlreadyExists if ``file`` exists, unless ``overwrite``, and
    FailedPrecondition without pyarrow.
    """
    arrow, info = _pyarrow(), memory.info()
    schema = arrow.schema(
        [
            ("id", arrow.string()),
            ("label", arrow.string()),
            ("vector", arrow.list_(arrow.float32(), info.dimension)),
            ("metadata", arrow.map_(arrow.string(), arrow.string())),
            ("create_time", arrow.timestamp("us", tz="UTC")),
            (SHA256, arrow.string()),
            ("pruned", arrow.bool_()),
            *([("image", arrow.binary())] if info.store_images else []),
        ],
        metadata={EMBEDDER: embedder_json(info.embedder)} if info.embedder else None,
    )
    entries, count = memory.entries(include_vectors=True, include_images=info.store_images), 0
    with (
        whole_file(file, overwrite=overwrite) as opened,
        arrow.parquet.ParquetWriter(opened, schema) as writer,
    ):
        while rows := list(islice(entries, BATCH[info.store_images])):
            writer.write_table(_table(rows, schema))
            count += len(rows)
            if progress is not None:
                progress(count, max(count, info.count))
    return count


def embedder_json(embedder: EmbedderSpec) -> str:
    """Return an embedder's spec as canonical JSON."""
    return json.dumps(asdict(embedder), sort_keys=True)


def _table(entries: list[Entry], schema: Any) -> Any:
    arrow = _pyarrow()
    vectors = np.concatenate([entry.vector for entry in entries if entry.vector is not None])
    columns = {
        "id": [entry.id for entry in entries],
        "label": [entry.label for entry in entries],
        "vector": arrow.FixedSizeListArray.from_arrays(vectors, type=schema.field("vector").type),
        "metadata": [list(entry.metadata.items()) for entry in entries],
        "create_time": [entry.create_time for entry in entries],
        SHA256: [entry.content_sha256 for entry in entries],
        "pruned": [bool(entry.pruned_by) for entry in entries],
        "image": [entry.image for entry in entries],  # left out where the schema has none
    }
    return arrow.Table.from_pydict(columns, schema=schema)


def _value(record: Record, column: str) -> Any:
    if isinstance(record, Decision):
        if column == "neighbors":
            return [_row(each) for each in record.neighbors]
        if column == "node":
            return record.node and record.node.name
        if column == "reranker":
            return record.reranking and record.reranking.reranker
    value = getattr(record, column)
    return list(value.items()) if isinstance(value, dict) else value


def _row(neighbor: Neighbor) -> dict[str, Any]:
    return {field.name: getattr(neighbor, field.name) for field in fields(neighbor)}


def _columns(arrow: Any) -> dict[type, dict[str, Any]]:
    """Return the columns of each kind of record, with their types."""
    text, number, flag, data = arrow.string(), arrow.float64(), arrow.bool_(), arrow.binary()
    names = arrow.list_(text)
    neighbor = {"id": text, "label": text, "distance": number, "weight": number}
    judged = {"id": text, "label": text, "proposed": text, "score": number}
    return {
        Neighbor: neighbor,
        Suspect: {**judged, "reason": text},
        LabelJudgement: {**judged, "suspect": flag, "reason": text},
        Conflict: {"ids": names, "labels": names, "distance": number},
        LabelAssessment: {
            "label": text,
            "count": arrow.int64(),
            "accuracy": number,
            "called": arrow.map_(text, arrow.int64()),
            "thin": flag,
        },
        Entry: {
            "id": text,
            "label": text,
            "metadata": arrow.map_(text, text),
            "create_time": arrow.timestamp("us", tz="UTC"),
            "content_sha256": text,
            "pruned_by": text,
            "vector": arrow.list_(arrow.float32()),
            "image": data,
            "thumbnail": data,
        },
        Decision: {
            "label": text,
            "confidence": number,
            "scores": arrow.map_(text, number),
            "neighbors": arrow.list_(arrow.struct(list(neighbor.items()))),
            "calibrated_confidence": number,
            "rejected": flag,
            "label_set": names,
            "node": text,
            "calibration_stale": flag,
            "reranker": text,
        },
    }


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise FailedPrecondition(
            "Arrow and Parquet need the Python package pyarrow, which is not installed: "
            "pip install 'visual-memory[parquet]'",
            reason="NO_EXTRA",
        ) from None
    return pyarrow
