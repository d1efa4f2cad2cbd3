"""Triplets: is picture o more like y or like z, by people and by distances?

Haghiri et al. (2019).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visual_memory_benchmarks.errors import BadFile

HEADER = ["o", "y", "z", "answer"]


@dataclass(frozen=True, slots=True)
class Triplet:
    """Three pictures, and the ``answer``: y or z, whichever is more like ``o``."""

    o: str
    y: str
    z: str
    answer: str


def read(path: Path) -> list[Triplet]:
    """Read a CSV file with the columns o,y,z,answer. Raises BadFile."""
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        header = next(reader, [])
        rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path, f"it cannot be read ({error})", "give a CSV file in UTF-8") from None
    if header != HEADER:
        raise BadFile(path, "the header is another", f"write {','.join(HEADER)}")
    triplets = []
    for line, row in rows:
        if len(row) != len(HEADER) or row[3] not in ("y", "z") or len(set(row[:3])) < 3:
            raise BadFile(
                path,
                f"line {line} is {','.join(row)!r}",
                "write three different pictures and the answer y or z",
            )
        triplets.append(Triplet(*row))
    if not triplets:
        raise BadFile(path, "it has no triplets", "write one a line")
    return triplets


def closer(
    triplets: Sequence[Triplet], rows: Mapping[str, int], vectors: ArrayLike
) -> NDArray[np.int64]:
    """Answer triplets by the distances of unit vectors: −1 for y, 1 for z, 0 for a tie.

    ``rows`` maps pictures to rows of ``vectors`` (m, d); a KeyError names a missing one.
    """
    table = np.asarray(vectors, np.float64)
    o, y, z = (table[[rows[getattr(each, name)] for each in triplets]] for name in ("o", "y", "z"))
    nearer: NDArray[np.float64] = (o * z).sum(axis=1) - (o * y).sum(axis=1)
    return np.sign(nearer).astype(np.int64)


def answers(triplets: Sequence[Triplet]) -> NDArray[np.int64]:
    """Return the given answers: −1 for y, 1 for z."""
    return np.array([-1 if each.answer == "y" else 1 for each in triplets], np.int64)


def agreed(found: NDArray[Any], given: NDArray[Any]) -> NDArray[np.float64]:
    """Return 1 for each triplet answered alike, ½ for a tie, 0 otherwise.

    The mean is accuracy if people gave the answers, and ordinal consistency if another embedder
    did.
    """
    tied = (found == 0) | (given == 0)
    scores: NDArray[np.float64] = np.where(tied, 0.5, found == given)
    return scores
