"""Discriminants of the service beside scikit-learn's LDA of the same shrinkage, on real vectors.

For each split it compares, with all queries and labels: LDA's discriminants without the logarithms
of priors, which in a head are half the squared distances of the query to the class means, as
contrasts between labels and parts of the largest; and the cosines in the metric, which a server
tells by the scores of its decisions, computed anew from LDA's coefficients and covariance.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import splits
from crops import Vectors, embedded
from numpy.typing import NDArray
from served import own_client

from visual_memory import Client
from visual_memory_index.heads.head import fit
from visual_memory_index.heads.statistics import SCALE, Statistics, quantized

try:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed here: `make compare` runs this in an environment with it."
    ) from None

SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 0.9)
DIMENSIONS = (None, 10, 100)  # None for the vectors of the embedder as they are
PER_LABEL = (5, 100)
TEMPERATURE = 10.0  # of the shares, at which their logarithms keep most digits of the scores
TOLERANCE = 1e-9

Matrix = NDArray[np.float64]


class Peers:
    """LDA fitted to entries (m, d) with labels, and the service's head with the same ridge."""

    def __init__(
        self, entries: NDArray[np.float32], given: Sequence[str], shrinkage: float
    ) -> None:
        self.entries, self.given = entries, list(given)
        self.labels = sorted(set(given))
        rows = exact(entries)  # as the head's statistics have them
        self.lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
        self.lda.fit(rows, np.array(given))
        # Shrinkage leaves the trace of the covariance as it is.
        self.factor = len(rows) / (1.0 - shrinkage)
        self.ridge = self.factor * shrinkage * float(np.trace(self.lda.covariance_)) / len(rows[0])

    def discriminants(self, queries: NDArray[np.float32]) -> float:
        """Return the largest difference of contrasts, as a part of the largest contrast."""
        statistics = Statistics(self.entries.shape[1], moment=True)
        statistics.add(self.given, self.entries)
        distances = fit(statistics, self.ridge).compare(queries).distances
        theirs = self.lda.decision_function(exact(queries)) - np.log(self.lda.priors_)
        ours, theirs = contrasts(-self.factor * distances), contrasts(theirs)
        return float(np.abs(ours - theirs).max() / np.abs(theirs).max())

    def cosines(self, client: Client, queries: NDArray[np.float32]) -> float:
        """Return the largest difference of contrasts of cosines, those of a server's decisions."""
        memory = client.create_memory("peers", dimension=self.entries.shape[1])
        memory.insert(vectors=self.entries, labels=self.given)
        decisions = memory.classify(
            vectors=queries,
            neighbors=0,
            head="discriminants",
            ridge=self.ridge,
            blend=1.0,
            balance=1.0,
            head_temperature=TEMPERATURE,
        )
        client.delete_memory("peers")
        shares = np.array([[each.scores[label] for label in self.labels] for each in decisions])
        ours = contrasts(TEMPERATURE * np.log(shares))
        return float(np.abs(ours - contrasts(self.expected(queries))).max())

    def expected(self, queries: NDArray[np.float32]) -> Matrix:
        """Return the cosines (n, L) in LDA's metric, from the mean of its class means."""
        centre = self.lda.means_.mean(axis=0)
        directions = self.lda.means_ - centre
        weights = self.lda.coef_ - self.lda.coef_.mean(axis=0)
        z = exact(queries) - centre
        lengths = (z * np.linalg.solve(self.lda.covariance_, z.T).T).sum(axis=1, keepdims=True)
        found: Matrix = z @ weights.T / np.sqrt((directions * weights).sum(axis=1) * lengths)
        return found


def exact(vectors: NDArray[np.float32]) -> Matrix:
    """Return vectors as the statistics of a head have them, rounded to multiples of 2⁻¹⁵."""
    return quantized(vectors) / SCALE


def contrasts(scores: Matrix) -> Matrix:
    """Return the differences of the scores (n, L) of all labels to the first label's."""
    return scores - scores[:, :1]


def compare(client: Client, data: Path, vectors: Vectors) -> float:
    """Print a row for each number of entries and shrinkage; return the largest difference."""
    of_label = splits.pictures(data, "both")
    worst = 0.0
    for per_label, shrinkage in product(PER_LABEL, SHRINKAGES):
        split = splits.split(
            of_label, 0, per_label=per_label, ratio=1, noise="none", share=0.0, nearest={}
        )
        entries, queries = vectors.of_items(split.entries), vectors.of_items(split.queries)
        peers = Peers(entries, split.given, shrinkage)
        of_discriminants, of_cosines = peers.discriminants(queries), peers.cosines(client, queries)
        worst = max(worst, of_discriminants, of_cosines)
        size = f"{entries.shape[1]} | {len(entries)} | {shrinkage:g} | {peers.ridge:.4g}"
        print(f"| {size} | {of_discriminants:.0e} | {of_cosines:.0e} |", flush=True)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    arguments = parser.parse_args()
    print("| dimension | entries | shrinkage | ridge | discriminants | cosines |")
    print("| --- | --- | --- | --- | --- | --- |")
    with own_client() as client:
        vectors = embedded(client, "efficientnet-lite0", arguments.data, arguments.work)
        worst = max(
            compare(client, arguments.data, vectors.reduced(each) if each else vectors)
            for each in DIMENSIONS
        )
    if worst > TOLERANCE:
        raise SystemExit(f"The largest difference is {worst:.1e}, above {TOLERANCE:.0e}.")


if __name__ == "__main__":
    main()
