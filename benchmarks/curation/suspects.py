"""Suspects, and the ranking of all entries, compared with cleanlab's on known wrong labels."""

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
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: `make peers` runs this in an environment with it."
    ) from None

K = 20  # neighbours that vote on a label, as in JudgeLabels
SEEDS = 5
COSTS = (1.0, 10.0, 100.0)  # scikit-learn's C: the larger, the closer a fit
COLUMNS = (
    "JudgeLabels",
    "cleanlab, the same votes",
    *(f"cleanlab, regression, C = {cost:g}" for cost in COSTS),
)

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Scores = NDArray[np.float64]
Verdict = tuple[Mask, Scores]  # the entries found mislabelled, and how suspicious each entry is


def any_other(codes: Codes, alike: Codes, rng: np.random.Generator) -> Codes:
    return (codes + rng.integers(1, len(alike), len(codes))) % len(alike)


def the_next(codes: Codes, alike: Codes, rng: np.random.Generator) -> Codes:
    return (codes + 1) % len(alike)


def the_most_alike(codes: Codes, alike: Codes, rng: np.random.Generator) -> Codes:
    return alike[codes]


def a_single_one(codes: Codes, alike: Codes, rng: np.random.Generator) -> Codes:
    return np.full_like(codes, rng.integers(len(alike)))


FLIPS = {
    "to any other": any_other,
    "to the next": the_next,
    "to the most alike": the_most_alike,
    "all to one": a_single_one,
}


def most_alike(vectors: Vectors, codes: Codes) -> Codes:
    """Return for each label the one whose mean vector has the highest cosine to its own."""
    means = np.array([vectors[codes == code].mean(axis=0) for code in np.unique(codes)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosines = means @ means.T
    np.fill_diagonal(cosines, -np.inf)
    codes_alike: Codes = cosines.argmax(axis=1)
    return codes_alike


def flipped(codes: Codes, alike: Codes, share: float, kind: str, rng: np.random.Generator) -> Codes:
    """Change a random ``share`` of the label codes; ``kind`` is a key of FLIPS."""
    others = FLIPS[kind](codes, alike, rng)
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

    def verdicts(self, noisy: Codes) -> list[Verdict]:
        """Return the verdict of each method; ``noisy`` are label codes, some of them wrong."""
        shares = self.shares(noisy)
        return [
            self.judged(noisy),
            (
                find_label_issues(noisy, shares, n_jobs=1),
                1.0 - get_label_quality_scores(noisy, shares),
            ),
            *(self.regressed(noisy, cost) for cost in COSTS),
        ]

    def judged(self, noisy: Codes) -> Verdict:
        changed = np.flatnonzero(noisy != self.codes)
        labels = {self.ids[at]: str(self.names[noisy[at]]) for at in changed}
        operation = self.memory.relabel(labels, apply=True).operation if labels else ""
        found = {each.id: each for each in self.memory.judge_labels()}
        if operation:
            self.memory.undo(operation)
        return (
            np.array([found[id].suspect for id in self.ids]),
            np.array([found[id].score for id in self.ids]),
        )

    def shares(self, noisy: Codes) -> Scores:
        """Return each label's share of the votes of each entry's neighbours: (entries, labels).

        ``noisy`` are the codes of the labels that vote. Rows sum to 1.
        """
        votes = np.zeros((len(noisy), len(self.names)))
        np.add.at(votes, (np.arange(len(noisy))[:, np.newaxis], noisy[self.near]), self.weights)
        shares: Scores = votes / votes.sum(axis=1, keepdims=True)
        return shares

    def regressed(self, noisy: Codes, cost: float) -> Verdict:
        """Return the verdict of cleanlab by logistic regression.

        ``noisy`` are label codes, some of them wrong. The regression is fitted in five folds, with
        ``cost`` as its C.
        """
        learning = CleanLearning(
            LogisticRegression(C=cost, max_iter=1000),
            seed=0,
            find_label_issues_kwargs={"n_jobs": 1},
        )
        found = learning.find_label_issues(self.vectors, noisy)
        return np.asarray(found["is_label_issue"], bool), 1.0 - np.asarray(found["label_quality"])


def quality(verdict: Verdict, wrong: Mask) -> tuple[float, float]:
    """Return F1 and the area under the precision-recall curve against the mask ``wrong``."""
    found, scores = verdict
    f1 = 2.0 * float((found & wrong).sum()) / float(found.sum() + wrong.sum())
    return f1, average_precision_score(wrong, scores)


def half_width(values: Scores) -> Scores:
    """Return half the width of the 95 % interval of a mean over five seeds, by Student's t.

    The seeds are the first axis of ``values``.
    """
    half: Scores = 2.776 * values.std(axis=0, ddof=1) / SEEDS**0.5
    return half


def cells(scores: Scores) -> list[str]:
    """Format scores (seeds, columns, 2: F1 and area) as the cells of a table row.

    Each column gives a cell of F1 / area, as means over seeds with intervals; the last cell is the
    lead in both of the first column over the best other.
    """
    means, halves = scores.mean(axis=0), half_width(scores)
    marks = np.where(means == means.max(axis=0), "**", "")
    found = [
        [f"{mark}{mean:.3f}{mark} ± {half:.3f}" for mark, mean, half in zip(*column, strict=True)]
        for column in zip(marks, means, halves, strict=True)
    ]
    best = 1 + means[1:].argmax(axis=0)
    leads = scores[:, 0] - np.stack([scores[:, at, n] for n, at in enumerate(best)], axis=1)
    pairs = zip(leads.mean(axis=0), half_width(leads), strict=True)
    found.append([f"{lead:+.3f} ± {half:.3f}" for lead, half in pairs])
    return [" / ".join(cell) for cell in found]


def write(*row: str) -> None:
    print("| " + " | ".join(row) + " |", flush=True)


def compare(client: Client, name: str, vectors: Vectors, labels: Sequence[str]) -> None:
    memory = client.create_memory(name, dimension=vectors.shape[1])
    judges = Judges(memory, vectors, labels)
    named = [f"{found.sum()} named" for found, _ in judges.verdicts(judges.codes)]
    alike = most_alike(vectors, judges.codes)
    write(name, "none", "", *named, "")
    for kind in FLIPS:
        for share in filter(None, NOISE):  # none flipped are above
            scores = []
            for seed in range(SEEDS):
                noisy = flipped(judges.codes, alike, share, kind, np.random.default_rng(seed))
                wrong = noisy != judges.codes
                scores.append([quality(each, wrong) for each in judges.verdicts(noisy)])
            write(name, kind, f"{100 * share:.0f} %", *cells(np.array(scores)))


def main() -> None:
    data = data_folder(__doc__)
    print(
        "F1 of what is named as mislabelled / area under the precision-recall curve of all entries"
        " as they are ranked, the\nhighest in bold, and both of JudgeLabels less cleanlab's best:"
        f" means of seeds 0 to {SEEDS - 1} ± half of a 95 % interval.\nVectors by {EMBEDDER},"
        f" votes by rank among {K};"
        f" cleanlab {version('cleanlab')}, scikit-learn {version('scikit-learn')}.\n"
    )
    write("pictures", "labels flipped", "share", *COLUMNS, "lead")
    write(*["---"] * (len(COLUMNS) + 4))
    with own_client() as client:
        embedding = client.create_memory("embedding", embedder=EMBEDDER)
        for name in ("natural16", "caltech20"):
            files, labels = pictures(data / name)
            compare(client, name, embedding.embed(files), labels)


if __name__ == "__main__":
    main()
