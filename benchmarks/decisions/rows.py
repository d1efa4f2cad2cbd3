"""Rows of a comparison of decision rules: what was asked, by which method, with which result."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHARE_MIN = 0.001  # below which a share counts as this in the log loss, as where no vote was given


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One combination of entries per label, ratio, kind and share of noise, of one configuration.

    ``configuration`` names the pictures and their vectors; the others are those of ``split``.
    """

    configuration: str
    per_label: int
    ratio: int
    noise: str
    share: float


@dataclass(frozen=True, slots=True)
class Row:
    """How one method answered the queries of one split.

    ``accuracy`` is the share of right answers, ``macro`` the mean of this share over labels, and
    ``rare`` its mean over the rare labels. ``log_loss`` is the mean of −ln of the right label's
    share. The last two are None where there are no rare labels, or no shares.
    """

    cell: Cell
    seed: int
    method: str
    accuracy: float
    macro: float
    rare: float | None
    log_loss: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The labels (n,) that a method gave, and the shares (n, L) of all labels where it has any."""

    labels: NDArray[np.str_]
    shares: NDArray[np.float64] | None


def judged(
    cell: Cell,
    seed: int,
    method: str,
    answers: Answers,
    right: NDArray[np.str_],
    labels: Sequence[str],
    rare: frozenset[str],
) -> Row:
    """Return the row of ``answers``, given the ``right`` label (n,) of each query.

    ``labels`` are all L labels, in the order of the shares.
    """
    hits = answers.labels == right
    recalls = {label: float(hits[right == label].mean()) for label in labels}
    loss = None
    if answers.shares is not None:
        codes = [labels.index(label) for label in right]
        of_right = answers.shares[np.arange(len(right)), codes]
        loss = float(-np.log(np.maximum(of_right, SHARE_MIN)).mean())
    return Row(
        cell=cell,
        seed=seed,
        method=method,
        accuracy=float(hits.mean()),
        macro=float(np.mean(list(recalls.values()))),
        rare=float(np.mean([recalls[label] for label in sorted(rare)])) if rare else None,
        log_loss=loss,
    )


CELL = [field.name for field in fields(Cell)]
COLUMNS = [*CELL, *(field.name for field in fields(Row) if field.name != "cell")]


def append(path: Path, rows: Sequence[Row]) -> None:
    """Append rows to a CSV file, with a header where it is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if file.tell() == 0:
            writer.writeheader()
        for row in rows:
            columns = asdict(row)
            writer.writerow({**columns.pop("cell"), **columns})


def read(path: Path) -> Iterator[Row]:
    """Yield the rows of a file that ``append`` wrote; none where there is no file."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield Row(
                cell=Cell(
                    row["configuration"],
                    int(row["per_label"]),
                    int(row["ratio"]),
                    row["noise"],
                    float(row["share"]),
                ),
                seed=int(row["seed"]),
                method=row["method"],
                accuracy=float(row["accuracy"]),
                macro=float(row["macro"]),
                rare=float(row["rare"]) if row["rare"] else None,
                log_loss=float(row["log_loss"]) if row["log_loss"] else None,
            )
