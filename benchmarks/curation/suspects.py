"""Suspects of AssessMemory compared with those of cleanlab, on known wrong labels."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from noise import NOISE
from numpy.typing import NDArray
from served import own_client
from taxonomy import EMBEDDER, Vectors, data_folder, pictures

from visual_memory import Client, Memory
from visual_memory_benchmarks.laboratory.questions import classify_by_others

try:
    from cleanlab.classification import CleanLearning
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: `make peers` runs this in an environment with it."
    ) from None

K = 20  # neighbours that vote on a label, as in AssessMemory
SEEDS = 5
COSTS = (1.0, 10.0, 100.0)  # scikit-learn's C: the larger, the closer a fit
COLUMNS = (
    "AssessMemory",
    "cleanlab, the same votes",
    *(f"cleanlab, regression, C = {cost:g}" for cost in COSTS),
)

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Scores = NDArray[np.float64]


def any_other(codes: Codes, labels: int, rng: np.random.Generator) -> Codes:
    return (codes + rng.integers(1, labels, len(codes))) % labels


def the_next(codes: Codes, labels: int, rng: np.random.Generator) -> Codes:
    return (codes + 1) % labels


def a_single_one(codes: Codes, labels: int, rng: np.random.Generator) -> Codes:
    return np.full_like(codes, rng.integers(labels))


FLIPS = {"to any other": any_other, "to the next": the_next, "all to one": a_single_one}


def flipped(codes: Codes, share: float, kind: str, rng: np.random.Generator) -> Codes:
    """Change a random ``share`` of the label codes; ``kind`` is a key of FLIPS."""
    others = FLIPS[kind](codes, int(codes.max()) + 1, rng)
    candidates = np.flatnonzero(others != codes)
    wrong = rng.choice(candidates, round(share * len(codes)), replace=False)
    noisy = codes.copy()
    noisy[wrong] = others[wrong]
    return noisy


class Judges:
    """A memory of pictures, and the methods of COLUMNS that find wrong labels among them."""

    def __init__(self, memory: Memory, vectors: Vectors, labels: Sequence[str]) -> None:
        self.memory, self.vectors = memory, vectors
        self.names, self.codes = np.unique(labels, return_inverse=True)
        self.ids = [f"{number:05}" for number in range(len(vectors))]
        memory.insert(vectors=vectors, labels=labels, ids=self.ids)
        others = classify_by_others(memory, self.ids, vectors=vectors, k=K, neighbors=K)
        near = [each.neighbors for each in others]
        self.near = np.array([each.ids for each in near]).astype(int)
        self.weights = np.array([each.weights for each in near])

    def verdicts(self, noisy: Codes) -> list[Mask]:
        """Return a mask for each method, the entries that it finds mislabelled.

        ``noisy`` are the codes of the labels, some of them wrong.
        """
        return [
            self.assessed(noisy),
            find_label_issues(noisy, self.shares(noisy), n_jobs=1),
            *(self.regressed(noisy, cost) for cost in COSTS),
        ]

    def assessed(self, noisy: Codes) -> Mask:
        changed = np.flatnonzero(noisy != self.codes)
        labels = {self.ids[at]: str(self.names[noisy[at]]) for at in changed}
        operation = self.memory.relabel(labels, apply=True).operation if labels else ""
        suspects = {each.id for each in self.memory.assess().suspects}
        if operation:
            self.memory.undo(operation)
        return np.array([id in suspects for id in self.ids])

    def shares(self, noisy: Codes) -> Scores:
        """Return each label's share of the votes of each entry's neighbours: (entries, labels).

        ``noisy`` are the codes of the labels that vote. Rows sum to 1.
        """
        votes = np.zeros((len(noisy), len(self.names)))
        np.add.at(votes, (np.arange(len(noisy))[:, np.newaxis], noisy[self.near]), self.weights)
        shares: Scores = votes / votes.sum(axis=1, keepdims=True)
        return shares

    def regressed(self, noisy: Codes, cost: float) -> Mask:
        """Return a mask of the entries that cleanlab finds mislabelled by logistic regression.

        ``noisy`` are label codes, some of them wrong. The regression is fitted in five folds, with
        ``cost`` as its C.
        """
        learning = CleanLearning(
            LogisticRegression(C=cost, max_iter=1000),
            seed=0,
            find_label_issues_kwargs={"n_jobs": 1},
        )
        found = learning.find_label_issues(self.vectors, noisy)["is_label_issue"]
        return np.asarray(found, bool)


def quality(found: Mask, wrong: Mask) -> tuple[float, float, float]:
    """Return precision, recall and F1 of the mask ``found`` against the mask ``wrong``."""
    hits, named, sought = (int(mask.sum()) for mask in (found & wrong, found, wrong))
    return hits / max(1, named), hits / sought, 2 * hits / (named + sought)


def half_width(values: Scores) -> Scores:
    """Return half the width of the 95 % interval of a mean over five seeds, by Student's t.

    The seeds are the first axis of ``values``.
    """
    half: Scores = 2.776 * values.std(axis=0, ddof=1) / SEEDS**0.5
    return half


def cells(scores: Scores) -> list[str]:
    """Format scores (seeds, columns, 3: precision, recall, F1) as the cells of a table row.

    Each column gives a cell of precision / recall, as means over seeds with intervals; the last
    cell is the lead in F1 of the first column over the best other.
    """
    means, halves = scores.mean(axis=0), half_width(scores)
    marks = np.where(means == means.max(axis=0), "**", "")
    found = [
        [f"{mark}{mean:.3f}{mark} ± {half:.3f}" for mark, mean, half in zip(*column, strict=True)]
        for column in zip(marks, means, halves, strict=True)
    ]
    f1 = scores[..., 2]
    lead = f1[:, 0] - f1[:, 1 + f1[:, 1:].mean(axis=0).argmax()]
    both = [f"{precision} / {recall}" for precision, recall, _ in found]
    return [*both, f"{lead.mean():+.3f} ± {half_width(lead):.3f}"]


def write(*row: str) -> None:
    print("| " + " | ".join(row) + " |", flush=True)


def compare(client: Client, name: str, vectors: Vectors, labels: Sequence[str]) -> None:
    memory = client.create_memory(name, dimension=vectors.shape[1])
    judges = Judges(memory, vectors, labels)
    named = [f"{found.sum()} named" for found in judges.verdicts(judges.codes)]
    write(name, "none", "", *named, "")
    for kind in FLIPS:
        for share in NOISE:
            scores = []
            for seed in range(SEEDS):
                noisy = flipped(judges.codes, share, kind, np.random.default_rng(seed))
                wrong = noisy != judges.codes
                scores.append([quality(found, wrong) for found in judges.verdicts(noisy)])
            write(name, kind, f"{100 * share:.0f} %", *cells(np.array(scores)))


def main() -> None:
    data = data_folder(__doc__)
    print(
        "Precision / recall of what is named as mislabelled, the highest in bold, and the F1 of"
        f" AssessMemory less\ncleanlab's best: means of seeds 0 to {SEEDS - 1} ± half of a 95 %"
        f" interval. Vectors by {EMBEDDER},\nvotes by rank among {K};"
        f" cleanlab {version('cleanlab')}, scikit-learn {version('scikit-learn')}.\n"
    )
    write("pictures", "labels flipped", "share", *COLUMNS, "lead in F1")
    write(*["---"] * (len(COLUMNS) + 4))
    with own_client() as client:
        embedding = client.create_memory("embedding", embedder=EMBEDDER)
        for name in ("natural16", "caltech20"):
            files, labels = pictures(data / name)
            compare(client, name, embedding.embed(files), labels)


if __name__ == "__main__":
    main()
