"""Pictures in a CSV table: a path and a label each, perhaps an id, and metadata."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from visual_memory._terminal.refused import Refused, listed

NEEDED, OPTIONAL = ("path", "label"), "id"


@dataclass(frozen=True, slots=True)
class Row:
    """A row; ``path`` as it is written, from the table's folder on."""

    id: str
    label: str
    path: str
    metadata: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no picture with a label; ``place`` names it, ``why`` is what it lacks."""

    place: str
    why: str


def rows(file: Path) -> Iterator[Row | BadRow]:
    """Every row, in order; columns beside path, label and id are metadata. Raises Refused."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            table = csv.DictReader(text, strict=True)
            check(file, list(table.fieldnames or ()))
            for cells in table:
                yield to_row(f"{file.name}, line {table.line_num}", cells)
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"{file} is no CSV table in UTF-8 ({error}).") from None


def check(file: Path, names: list[str]) -> None:
    """Raises Refused where a column is missing or there twice."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Refused(f"{file} has more than one column {listed(twice)}.")
    if not set(NEEDED) <= set(names):
        raise Refused(
            f"{file} has the columns {listed(names) or 'of an empty file'}; wanted are path and "
            "label, separated by commas; id is optional, and others are metadata."
        )


def to_row(place: str, cells: dict[str | None, str | list[str] | None]) -> Row | BadRow:
    """A row that is at ``place`` in its file."""
    texts = {name: cell for name, cell in cells.items() if name and isinstance(cell, str)}
    if len(texts) != len(cells):
        return BadRow(place, "has more or fewer cells than there are columns")
    if missing := [name for name in NEEDED if not texts[name]]:
        return BadRow(place, f"has no {' and no '.join(missing)}")
    path, label = (texts.pop(name) for name in NEEDED)
    id = texts.pop(OPTIONAL, "") or Path(path).as_posix()
    return Row(id, label, path, {k: v for k, v in texts.items() if v} if texts else None)
