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


def rows(file: Path) -> Iterator[Row]:
    """Every row, in order; columns beside path, label and id are metadata. Raises Refused."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            table = csv.DictReader(text, strict=True)
            check(file, list(table.fieldnames or ()))
            for cells in table:
                yield to_row(f"{file}, line {table.line_num}", cells)
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


def to_row(place: str, cells: dict[str | None, str | list[str] | None]) -> Row:
    """Raises Refused for a row of another length, or without a path or a label."""
    texts = {name: cell for name, cell in cells.items() if name and isinstance(cell, str)}
    if len(texts) != len(cells):
        raise Refused(f"{place}: the row has more or fewer cells than there are columns.")
    path, label = (texts.pop(name) for name in NEEDED)
    for name, cell in zip(NEEDED, (path, label), strict=True):
        if not cell:
            raise Refused(f"{place}: the {name} is missing.")
    id = texts.pop(OPTIONAL, "") or Path(path).as_posix()
    return Row(id, label, path, {k: v for k, v in texts.items() if v} if texts else None)
