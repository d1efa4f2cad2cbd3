"""Canonical JSON: one text for each value, parsed strictly."""

from __future__ import annotations

import json
from typing import Any

WHOLE_MAX = 2**53 - 1  # what every reader of JSON takes exactly
DIGITS_MAX = len(str(WHOLE_MAX))


def canonical(value: Any) -> str:
    """Return a value as canonical JSON (RFC 8785); numbers must be whole and names ASCII."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def parse(data: str | bytes) -> Any:
    """Parse JSON without repeated names, whose numbers are whole and not negative.

    Raises ValueError with a predicate of ``data``, such as "is not UTF-8".
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        return json.loads(
            text,
            object_pairs_hook=to_object,
            parse_int=to_whole,
            parse_float=to_whole,
            parse_constant=to_whole,
        )
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError as problem:
        raise ValueError(f"is no whole JSON ({problem})") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None


def to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of the pairs of name and value. Raises ValueError for a repeated name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("has the same name twice in one object")
    return found


def to_whole(number: str) -> int:
    """Parse a number of at most 16 decimal digits. Raises ValueError for any other number."""
    if len(number) > DIGITS_MAX or not number.isdecimal():
        raise ValueError(f"has {number:.40} where only a whole number from 0 can be")
    return int(number)
