"""Markdown: numbers, tables and paragraphs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Estimate: TypeAlias = Mapping[str, float | None]

WIDTH = 128
UNDEFINED = "–"
CODE = re.compile(r"`[^`]+`")
STUCK = "\0"  # replaces a space at which no line may break


def number(value: float | None, digits: int = 3, sign: str = "") -> str:
    """Format a number with ``digits`` decimals and the sign −; None as a dash.

    ``sign`` is as in Python's format: ``+`` also marks positive numbers.
    """
    if value is None:
        return UNDEFINED
    nearest = round(value, digits) + 0.0  # which makes 0 of −0
    return f"{nearest:{sign}.{digits}f}".replace("-", "−")


def interval(estimate: Estimate | None, digits: int = 3, sign: str = "") -> str:
    """Format an estimate: ``0.215 [0.192, 0.239]``; a dash if undefined.

    ``digits`` and ``sign`` are as in ``number``.
    """
    if estimate is None or estimate["value"] is None:
        return UNDEFINED
    value, low, high = (number(estimate[key], digits, sign) for key in ("value", "low", "high"))
    return value if UNDEFINED in (low, high) else f"{value} [{low}, {high}]"


def change(estimate: Estimate | None) -> str:
    """Format an estimate of a difference, with its sign."""
    return interval(estimate, sign="+")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Make a table of cells that are text or whole numbers."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def columns(
    rows: Iterable[Mapping[str, Any]],
    cells: Mapping[str, str | Callable[[Mapping[str, Any]], object]],
) -> str:
    """Make a table of rows; ``cells`` maps each header to a key of the row or a function of it.

    An estimate is shown with its interval, a missing value as a dash.
    """
    return table(tuple(cells), [[_cell(row, of) for of in cells.values()] for row in rows])


def _cell(row: Mapping[str, Any], of: str | Callable[[Mapping[str, Any]], object]) -> object:
    found = row.get(of) if isinstance(of, str) else of(row)
    return interval(found) if found is None or isinstance(found, Mapping) else found


def folded(summary: str, content: str) -> str:
    """Return a block of HTML that is folded until the reader opens it."""
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def bullets(texts: Iterable[str]) -> str:
    """Return a Markdown list of texts."""
    return "\n".join(paragraph(text, "- ", "  ") for text in texts)


def paragraph(text: str, first: str = "", rest: str = "") -> str:
    """Wrap a text to the page's width; code in backticks is not broken.

    The first line begins with ``first``, the others with ``rest``.
    """
    kept = CODE.sub(lambda found: found[0].replace(" ", STUCK), text)
    lines = textwrap.fill(
        kept,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(STUCK, " ")


def listed(words: Sequence[str]) -> str:
    """Join words: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
