"""Shortcuts: does a memory learn a stamp instead of the object?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from visual_memory import Memory
from visual_memory_benchmarks.distortions.picture import Picture
from visual_memory_benchmarks.laboratory import intervals, questions
from visual_memory_benchmarks.laboratory.experiment import Experiment
from visual_memory_benchmarks.laboratory.gallery import Gallery, Mask, Numbers, Texts, parts
from visual_memory_benchmarks.laboratory.intervals import Values, over_pictures
from visual_memory_benchmarks.laboratory.laboratory import Laboratory
from visual_memory_benchmarks.laboratory.result import Row, Tables

MARGIN = 24  # from the corner: embedders cut some of the border off
SQUARES = 4
COLOURS = np.array([[255, 0, 255], [0, 255, 0]], np.uint8)
MEASURES = ("consistent", "absent", "conflicting", "called_stamped", "called_unstamped")
CLEAN, HALF, SHORTCUT = "no stamp", "on half of each label", "on one label"


@partial(
    Experiment,
    "A stamp on one label of the memory: consistent, absent or conflicting when asked",
    papers=(28,),
    data=("natural16",),
    intervals=intervals.PICTURES,
    comparison=(
        "Nothing published stands beside it: the paper asks for tests that break the shortcut, and "
        "these do. All pictures are cut to the 224 × 224 at the centre, stamped or not."
    ),
)
def shortcut(
    laboratory: Laboratory, *, sides: Sequence[int] = (32, 64, 96), k: int = 10, seed: int = 0
) -> Tables:
    """Classify each half of the pictures by a memory of the other half.

    In one kind of memory all entries of one label, each label in turn, bear the stamp. A picture is
    asked about with the stamp if its own label bears it (consistent), without the stamp (absent),
    and with it if another label bears it (conflicting). The share of conflicting pictures called
    the stamped label is compared with that of the pictures without a stamp, since entries with a
    stamp may lie nearer to everything.
    """
    gallery, pictures = laboratory.gallery("natural16"), laboratory.pictures("natural16")
    embed = laboratory.embedders[0].of
    clean = replace(gallery, vectors=embed(pictures))
    rng = np.random.default_rng(seed)
    first, second = parts(clean.labels, (0.5, 0.5), rng)
    half = np.isin(np.arange(len(clean)), parts(clean.labels, (0.5, 0.5), rng)[0])
    rows: list[Row] = []
    for side in sides:
        marked = replace(clean, vectors=embed([stamped(each, side) for each in pictures]))
        folds = Fold(clean, marked, first, second), Fold(clean, marked, second, first)
        found = _measured(laboratory, f"{side} pixels", folds, half, k)
        for kind, scores in found.items():
            changes = scores - found[CLEAN]
            rows.append(
                {
                    "side": side,
                    "stamp": kind,
                    **{name: over_pictures(scores[at]) for at, name in enumerate(MEASURES)},
                    **{
                        f"{name}_change": over_pictures(changes[at])
                        for at, name in enumerate(MEASURES)
                    },
                }
            )
    return {"stamps": rows}


def stamped(picture: Picture, side: int) -> Picture:
    """Draw a chequered square of ``side`` pixels near the picture's lower right corner."""
    height, width = picture.shape[:2]
    squares = np.arange(side) * SQUARES // side
    covered = picture.copy()
    bottom, right = height - MARGIN, width - MARGIN
    covered[bottom - side : bottom, right - side : right] = COLOURS[
        (squares[:, None] + squares) % len(COLOURS)
    ]
    return covered


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """All pictures without and with a stamp, and the rows of those to store and to query."""

    clean: Gallery
    marked: Gallery
    known: Numbers
    queries: Numbers

    def entries(self, bears: Mask) -> Gallery:
        """Return the pictures to store, with the stamp where ``bears``, a mask of all, is True."""
        vectors = np.where(bears[:, None], self.marked.vectors, self.clean.vectors)
        return replace(self.clean, vectors=vectors).at(self.known)

    def answers(self, memory: Memory, k: int) -> tuple[Texts, Texts]:
        """Classify the queried pictures; return the labels without, then with the stamp."""
        plain, bearing = (
            questions.labels(questions.classify(memory, each.at(self.queries), k=k))
            for each in (self.clean, self.marked)
        )
        return plain, bearing


def _measured(
    laboratory: Laboratory, state: str, folds: Sequence[Fold], half: Mask, k: int
) -> dict[str, Values]:
    """Return the five MEASURES of all n pictures (5, n) for each kind of memory.

    Kinds are CLEAN (no stamps), HALF and SHORTCUT (all entries of one label are stamped). ``half``
    is a mask of the pictures that are stamped in the kind HALF.
    """
    labels = folds[0].clean.labels
    names = np.unique(labels).tolist()
    others = len(names) - 1
    found = {kind: np.zeros((len(MEASURES), len(labels))) for kind in (CLEAN, HALF, SHORTCUT)}
    for number, fold in enumerate(folds):
        queries, truth = fold.queries, labels[fold.queries]
        for kind, bears in ((CLEAN, np.zeros_like(half)), (HALF, half)):
            memory = laboratory.memory(f"{state}, fold {number}, {kind}", fold.entries(bears))
            plain, bearing = fold.answers(memory, k)
            right = bearing == truth
            # Any other label could have been the stamped one.
            found[kind][:3, queries] = right, plain == truth, right
            found[kind][3:, queries] = ~right / others, (plain != truth) / others
        scores = found[SHORTCUT]
        for name in names:
            memory = laboratory.memory(
                f"{state}, fold {number}, {name}", fold.entries(labels == name)
            )
            plain, bearing = fold.answers(memory, k)
            own, other = queries[truth == name], queries[truth != name]
            scores[0, own] = bearing[truth == name] == name
            scores[1, own] = plain[truth == name] == name
            scores[2, other] += (bearing == truth)[truth != name] / others
            scores[3, other] += (bearing == name)[truth != name] / others
            scores[4, other] += (plain == name)[truth != name] / others
    return found
