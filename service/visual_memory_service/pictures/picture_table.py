"""CSV tables of pictures: path and label, optionally id, and metadata."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from visual_memory.terminal.refused import Refused, listed

NEEDED, OPTIONAL = ("path", "label"), "id"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a CSV table of pictures; ``path`` is relative to the folder of the table."""

    id: str
    label: str
    path: str
    metadata: dict[str, str] | None


def read(file: Path) -> tuple[list[Row], dict[str, str]]:
    """Return the rows in order, and the places of rows that cannot be used with the reason.

    Columns beside path, label and id are metadata. Raises Refused.
    """
    rows, bad, lines = list[Row](), dict[str, str](), dict[str, int]()
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            table = csv.reader(text, strict=True)
            names = next(table, [])
            check(file, names)
            for cells in filter(None, table):
                row, line = to_row(names, cells), table.line_num
                if isinstance(row, Row) and lines.setdefault(row.id, line) != line:
                    row = f"has the id {listed([row.id])}, as line {lines[row.id]} has"
                if isinstance(row, Row):
                    rows.append(row)
                else:
                    bad[f"{file}, line {line}"] = row
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise Refused(f"{file} is no CSV table in UTF-8 ({error}); save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise Refused(f"{file} is no CSV table in UTF-8 ({error}).") from None
    return rows, bad


def check(file: Path, names: list[str]) -> None:
    """Raise Refused if ``names``, the columns of a table, lack path or label, or have one twice."""
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise Refused(f"{file} has more than one column {listed(twice)}.")
    if not set(NEEDED) <= set(names):
        has = f"has the columns {listed(names)}" if names else "has no first line with columns"
        raise Refused(
            f"{file} {has}; wanted are path and label, separated by commas; id is optional, and "
            "others are metadata."
        )


def to_row(names: list[str], cells: list[str]) -> Row | str:
    """Convert a row, or say why it cannot be used; a column without a name must be empty."""
    if len(cells) != len(names):
        return "has more or fewer cells than there are columns"
    for column, (name, cell) in enumerate(zip(names, cells, strict=True), start=1):
        if cell and not name:
            return f"has a cell in column {column}, which has no name"
    texts = {name: cell for name, cell in zip(names, cells, strict=True) if name}
    if missing := [name for name in NEEDED if not texts[name].strip()]:
        return f"has no {' and no '.join(missing)}"
    path, label = (texts.pop(name) for name in NEEDED)
    id = texts.pop(OPTIONAL, "") or Path(path).as_posix()
    return Row(id, label, path, {k: v for k, v in texts.items() if v} if texts else None)
