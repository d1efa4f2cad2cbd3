"""Random filters, their text, and ten lines of Python that evaluate them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from visual_memory_index.records.filter import And, Comparison, Filter, Not, Or, Pattern

Row = tuple[str, str, dict[str, str], int]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

texts = st.text("ab*?[]^-\\\"'.$% Aé\uffff😀\n", max_size=4)
times = st.integers(-3, 3) | st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
rows = st.lists(st.tuples(texts, texts, st.dictionaries(texts, texts, max_size=3), times))
patterns = st.lists(texts, min_size=2, max_size=4).map(tuple).map(Pattern)
fields = st.tuples(st.sampled_from(["id", "label"]), st.none()) | st.tuples(
    st.just("metadata"), texts
)
comparisons = st.one_of(
    st.builds(
        lambda field, sign, value: Comparison(field[0], sign, value, field[1]),
        fields,
        st.sampled_from(list(ORDER)),
        texts,
    ),
    st.builds(
        lambda field, sign, value: Comparison(field[0], sign, value, field[1]),
        fields,
        st.sampled_from(["=", "!="]),
        patterns,
    ),
    st.builds(Comparison, st.just("create_time"), st.sampled_from(list(ORDER)), times),
)


def branches(parts: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, parts) | st.builds(And, several) | st.builds(Or, several)


filters: st.SearchStrategy[Filter] = st.recursive(comparisons, branches, max_leaves=6)


def quoted(text: str) -> str:
    return '"' + re.sub(r'["\\*]', r"\\\g<0>", text) + '"'


def written(filter: Filter) -> str:
    """Return the text of a filter, with every part in parentheses."""
    match filter:
        case Not(part):
            return f"NOT ({written(part)})"
        case And(parts):
            return " AND ".join(f"({written(part)})" for part in parts)
        case Or(parts):
            return " OR ".join(f"({written(part)})" for part in parts)
        case Comparison(field, sign, value, key):
            name = field if key is None else f"{field}.{quoted(key)}"
            if isinstance(value, Pattern):
                return f'{name} {sign} "{"*".join(quoted(p)[1:-1] for p in value.pieces)}"'
            if isinstance(value, int):
                return f"{name} {sign} {(EPOCH + timedelta(microseconds=value)).isoformat()}"
            return f"{name} {sign} {quoted(value)}"


def admits(filter: Filter, row: Row) -> bool:
    """Return True if the filter matches the row, by plain recursion."""
    id, label, metadata, created_at = row
    match filter:
        case Not(part):
            return not admits(part, row)
        case And(parts):
            return all(admits(part, row) for part in parts)
        case Or(parts):
            return any(admits(part, row) for part in parts)
        case Comparison(field, sign, value, key):
            own = {"id": id, "label": label, "create_time": created_at}
            stored = own[field] if key is None else metadata.get(key)
            if stored is None:
                return False
            if isinstance(value, Pattern):
                regex = ".*".join(map(re.escape, value.pieces))
                return bool(re.fullmatch(regex, str(stored), re.DOTALL)) == (sign == "=")
            return ORDER[sign](stored, value)
