"""Tables of text, numbers and pictures as HTML, for notebooks."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeAlias

Cell: TypeAlias = str | int | float | bytes | None
KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}  # what thumbnails and pictures are
SHOWN_MAX = 20


def table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str = "") -> str:
    """Return a table as HTML: text escaped, bytes as pictures, and of many rows the first 20.

    Text keeps its own direction, so that it cannot turn what stands beside it.
    """
    head = row(headers, "th")
    body = "".join(row(map(cell, each), "td") for each in rows[:SHOWN_MAX])
    more = f"<p>… and {len(rows) - SHOWN_MAX:,} more</p>" if len(rows) > SHOWN_MAX else ""
    said = f"<caption>{text(caption)}</caption>" if caption else ""
    return f"<table>{said}<thead>{head}</thead><tbody>{body}</tbody></table>{more}"


def row(cells: Iterable[str], tag: str) -> str:
    """Return a row of cells that are HTML already."""
    return "<tr>" + "".join(f"<{tag}>{each}</{tag}>" for each in cells) + "</tr>"


def cell(value: Cell) -> str:
    """Return a value as HTML; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return picture(value)
    return f"{value:.4g}" if isinstance(value, float) else text(str(value))


def text(value: str) -> str:
    """Return text as HTML that shows just that."""
    return f"<bdi>{escape(value)}</bdi>"


def picture(data: bytes) -> str:
    """Return a JPEG or PNG as HTML; nothing for what is neither."""
    for begin, kind in KINDS.items():
        if data.startswith(begin):
            encoded = b64encode(data).decode()
            return f'<img alt="" style="max-height:96px" src="data:image/{kind};base64,{encoded}">'
    return ""
