"""Results as Arrow tables, which pandas and Polars take over; needs the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias

from visual_memory.errors import FailedPrecondition, refuse
from visual_memory.types import (
    Conflict,
    Decision,
    Entry,
    LabelAssessment,
    LabelJudgement,
    Neighbor,
    Suspect,
)

if TYPE_CHECKING:
    import pyarrow

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
    except ModuleNotFoundError:
        raise FailedPrecondition(
            "Arrow tables need the Python package pyarrow, which is not installed: "
            "pip install 'visual-memory[parquet]'",
            reason="NO_EXTRA",
        ) from None
    return pyarrow
