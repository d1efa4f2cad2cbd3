"""Filters as SQL conditions on the table ``entries``, with parameters."""

from __future__ import annotations

import re
from types import MappingProxyType

from visual_memory_index.records.filter import And, Comparison, Filter, Not, Or, Pattern

COLUMNS = MappingProxyType({"create_time": "created_at"})  # of fields with another name
NULLABLE = ("pruned_by",)
GLOB_SPECIAL = re.compile(r"[*?\[]")


def to_sql(filter: Filter | None) -> tuple[str, list[str | int]]:
    """Return a condition on the table ``entries``, never NULL, and the values of its ``?``."""
    match filter:
        case None:
            return "TRUE", []
        case Comparison():
            return compare(filter)
        case Not(part):
            sql, values = to_sql(part)
            return f"NOT {sql}", values
        case And(parts) | Or(parts):
            word = " AND " if isinstance(filter, And) else " OR "
            pairs = [to_sql(part) for part in parts]
            sql = word.join(sql for sql, _ in pairs)
            return f"({sql})", [value for _, values in pairs for value in values]


def compare(comparison: Comparison) -> tuple[str, list[str | int]]:
    """Return the SQL and values of one comparison."""
    condition, value = operation(comparison)
    if comparison.key is None:
        column = COLUMNS.get(comparison.field, comparison.field)
        condition = f"entries.{column} {condition}"
        return (f"({condition} IS TRUE)" if comparison.field in NULLABLE else condition), [value]
    return (
        "EXISTS (SELECT 1 FROM json_each(entries.metadata) AS pair"
        f" WHERE pair.key = ? AND pair.value {condition})",
        [comparison.key, value],
    )


def operation(comparison: Comparison) -> tuple[str, str | int]:
    """Return the SQL that follows the name of what is compared, with one ``?``, and its value.

    It uses GLOB, since LIKE would ignore case.
    """
    operator, value = comparison.operator, comparison.value
    if isinstance(value, Pattern):
        operator = {"=": "GLOB", "!=": "NOT GLOB"}[operator]
        value = "*".join(GLOB_SPECIAL.sub(r"[\g<0>]", piece) for piece in value.pieces)
    return f"{operator} ?", value
