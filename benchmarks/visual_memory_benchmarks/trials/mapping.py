"""The mapping of a memory's labels to the categories of a benchmark."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from visual_memory_benchmarks.errors import BadFile, UnmappedLabels
from visual_memory_benchmarks.trials.datasets import CATEGORIES

HEADER = ["label", "category"]


def read(path: Path, categories: Sequence[str] = CATEGORIES) -> dict[str, str]:
    """Read labels' categories from a CSV file with the columns label,category. Raises BadFile."""
    mapping: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            if (header := next(rows, [])) != HEADER:
                raise BadFile(path, f"the header is {','.join(header)!r}", "write label,category")
            for row in filter(None, rows):
                line = f"line {rows.line_num}"
                if len(row) != len(HEADER):
                    raise BadFile(path, f"{line} has {len(row)} fields", "write label,category")
                label, category = row
                if category not in categories:
                    known = f"choose one of {', '.join(categories)}"
                    raise BadFile(path, f"{line} names the unknown category {category!r}", known)
                if label in mapping:
                    raise BadFile(path, f"{line} maps {label!r} again", "keep one line a label")
                mapping[label] = category
    except OSError as error:
        raise BadFile(path, f"cannot be read ({error.strerror})", "look at its path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path, f"cannot be read ({error})", "save it as CSV in UTF-8") from None
    return mapping


def complete(
    labels: Iterable[str], mapping: Mapping[str, str], categories: Sequence[str] = CATEGORIES
) -> dict[str, str]:
    """Map every label to a category; a label that is a category needs no entry in ``mapping``.

    Raises UnmappedLabels with all labels that are left.
    """
    found = {label: mapping.get(label, label) for label in labels}
    if left := sorted(found.keys() - mapping.keys() - set(categories)):
        raise UnmappedLabels(left, categories)
    return found
