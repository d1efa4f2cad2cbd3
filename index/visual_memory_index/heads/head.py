"""A head: a linear classifier in closed form, fitted to a memory's statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.errors import HeadTooLarge, RidgeTooSmall
from visual_memory_index.heads.products import Matrix, Sliced, inverse, product, sliced_product
from visual_memory_index.heads.statistics import SCALE, Statistics, quantized
from visual_memory_index.records.neighbors import HeadScores
from visual_memory_index.rows.distances import fixed_sum

SCORING_SLICES = 2  # which rounds scores by less than 1e-10 of the largest weight
PAIRS_AT_ONCE = 1 << 21  # of a query and a label
NUMBERS_MAX = (
    1 << 25
)  # of labels times dimension: statistics and a head take some 40 bytes for each
METRIC_MAX = 2048  # dimension of discriminants, whose matrix is inverted after each write


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Scores queries by the directions of the class means from their centre.

    With the mean μ of each label, their mean μ̄ and the inverse M of the metric, the score of a
    label for a query x is the cosine of M^½(μ − μ̄) and M^½(x − μ̄), from −1 to 1.

    ``labels`` are in byte order, ``counts`` (L,) their numbers of entries. ``directions`` (L, d)
    are μ − μ̄, ``norms`` (L,) their lengths in the metric, and ``centre`` (d,) is μ̄. ``weights``
    holds the directions times M, and below these, unless M is the identity, M itself.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.float64]
    centre: NDArray[np.float64]
    directions: Matrix
    norms: NDArray[np.float64]
    weights: Sliced
    has_metric: bool

    def compare(self, vectors: NDArray[np.float32]) -> HeadScores:
        """Return the scores of unit ``vectors`` (n, d), and their distances to the class means.

        A query's results do not depend on the other queries. A direction of length 0 scores 0. A
        distance is half the squared Euclidean distance, in the metric:
        for a label of one entry, and without a ridge, it is the distance 1 − cosine to that entry.
        """
        scores, distances = np.empty((2, len(vectors), len(self.labels)))
        for part in self._parts(len(vectors)):
            z = quantized(vectors[part]) / SCALE - self.centre
            along, inner = self._products(z)
            squares = self.norms**2, fixed_sum(z * inner)[:, np.newaxis]
            scores[part] = cosines(along, *squares)
            distances[part] = half_squares(along, *squares)
        return HeadScores(self.labels, self.counts, scores, distances)

    def compare_without(
        self, queries: NDArray[np.float32], labels: Sequence[str], vectors: NDArray[np.float32]
    ) -> HeadScores:
        """Return scores and distances (n, L) by a head that never knew one of the entries.

        Row i is for the query i without the entry that has the label i and the vector i: both
        float32 (n, d). The entries themselves as ``queries`` are scored leave-one-out. A label
        without any other entry scores −∞. The counts (n, L) leave the entries out, too. The inverse
        is downdated by the formula of Sherman and Morrison (1950), which differs from a new inverse
        by rounding errors alone; they grow as the ridge gets small beside the scatter.
        """
        scores, distances = np.empty((2, len(queries), len(self.labels)))
        place = {label: at for at, label in enumerate(self.labels)}
        codes = np.array([place[label] for label in labels], dtype=np.intp)
        for part in self._parts(len(queries)):
            parts = self._without(queries[part], codes[part], vectors[part])
            scores[part], distances[part] = cosines(*parts), half_squares(*parts)
        counts = np.repeat(self.counts[np.newaxis], len(queries), axis=0)
        counts[np.arange(len(queries)), codes] -= 1.0
        last = self.counts[codes] == 1.0
        scores[last, codes[last]], distances[last, codes[last]] = -np.inf, np.inf
        return HeadScores(self.labels, counts, scores, distances)

    def _parts(self, count: int) -> Iterator[slice]:
        step = max(1, PAIRS_AT_ONCE // self.weights.exponents.size)
        return (slice(start, start + step) for start in range(0, count, step))

    def _without(
        self, queries: NDArray[np.float32], codes: NDArray[np.intp], vectors: NDArray[np.float32]
    ) -> tuple[Matrix, Matrix, Matrix]:
        """Return products with the directions and two squared lengths, without one entry each."""
        own = np.arange(len(queries)), codes
        count = self.counts[codes][:, np.newaxis]
        last = count == 1.0
        fewer = np.where(last, 1.0, count - 1.0)
        z = quantized(queries) / SCALE - self.centre
        x = quantized(vectors) / SCALE - self.centre
        # The centre moves by −shift · u; the metric loses ``lost`` · u·uᵀ.
        u = np.where(last, x, x - self.directions[codes])
        shift = np.where(last, 1.0 / max(1, len(self.labels) - 1), 1.0 / fewer / len(self.labels))
        lost = np.where(last, 0.0, count / fewer) if self.has_metric else np.zeros_like(count)
        along_z, inner_z = self._products(z)
        along_u, inner_u = self._products(u)
        uu = fixed_sum(u * inner_u)[:, np.newaxis]
        zu = fixed_sum(z * inner_u)[:, np.newaxis] + shift * uu
        moved = np.broadcast_to(shift, along_z.shape).copy()
        moved[own] -= np.where(last, 0.0, 1.0 / fewer)[:, 0]
        gain = lost / (1.0 - lost * uu)
        du = along_u + moved * uu
        along = along_z + shift * along_u + moved * zu + gain * du * zu
        norms = self.norms**2 + 2.0 * moved * along_u + moved**2 * uu + gain * du**2
        zz = fixed_sum(z * inner_z)[:, np.newaxis] + 2.0 * shift * zu - shift**2 * uu + gain * zu**2
        return along, norms, zz

    def _products(self, rows: Matrix) -> tuple[Matrix, Matrix]:
        """Return the products of ``rows`` (n, d) with each direction in the metric, and with M."""
        both = sliced_product(Sliced.of(rows, SCORING_SLICES), self.weights)
        return both[:, : len(self.labels)], both[:, len(self.labels) :] if self.has_metric else rows


def cosines(along: Matrix, norms: Matrix, lengths: Matrix) -> Matrix:
    """Return products divided by the roots of two squared lengths; 0 if a length is not above 0."""
    squares = np.maximum(norms, 0.0) * np.maximum(lengths, 0.0)
    return np.where(squares > 0.0, along / np.sqrt(np.where(squares > 0.0, squares, 1.0)), 0.0)


def check_size(labels: int, dimension: int, *, moment: bool) -> None:
    """Check that a head may be fitted, by discriminants if ``moment``. Raises HeadTooLarge."""
    if labels * dimension > NUMBERS_MAX:
        most = f"{NUMBERS_MAX // dimension:,} labels of dimension {dimension:,} at most"
        raise HeadTooLarge(most, f"{labels:,}")
    if moment and dimension > METRIC_MAX:
        most = f"discriminants of dimension {METRIC_MAX:,} at most"
        raise HeadTooLarge(most, f"{dimension:,}", "decide by class means, the head 'means'")


def half_squares(along: Matrix, norms: Matrix, lengths: Matrix) -> Matrix:
    """Return half the squared distances, given products and the two squared lengths."""
    return np.maximum(lengths - 2.0 * along + norms, 0.0) / 2.0


def fit(
    statistics: Statistics,
    ridge: float | None = None,
    *,
    invert: Callable[[Matrix], Matrix | None] = inverse,
) -> Head:
    """Fit a head to the ``statistics`` of at least one entry.

    Without ``ridge`` the metric is the identity: nearest class mean by centred cosine (Wang et al.,
    2019, SimpleShot, "CL2N"). With it the metric is the scatter of the vectors around their class
    means, plus ``ridge`` > 0 on its diagonal: linear discriminants (Fisher, 1936; Friedman, 1989,
    Regularized discriminant analysis), scored by cosine (Dehak et al., 2011, section 3.4). The
    statistics must keep the second moment then. Equal statistics give equal bits, unless the metric
    is inverted otherwise: ``invert`` returns None if it is not positive definite. Raises
    HeadTooLarge, RidgeTooSmall.
    """
    check_size(len(statistics.counts), statistics.dimension, moment=ridge is not None)
    labels = tuple(sorted(statistics.counts))
    counts = np.array([statistics.counts[label] for label in labels], dtype=np.float64)
    means = np.array([statistics.sums[label] for label in labels]) / SCALE / counts[:, np.newaxis]
    centre = fixed_sum(means.T.copy()) / len(labels)
    directions = means - centre
    if ridge is None:
        weights, whole = directions, directions
    else:
        assert statistics.moment is not None
        between = product((means * counts[:, np.newaxis]).T, means.T)
        scatter = statistics.moment / SCALE**2 - (between + between.T) / 2.0
        metric = invert(scatter + ridge * np.eye(statistics.dimension))
        if metric is None:
            raise RidgeTooSmall(ridge)
        weights = product(directions, metric)
        whole = np.concatenate([weights, metric])
    return Head(
        labels=labels,
        counts=counts,
        centre=centre,
        directions=directions,
        norms=np.sqrt(np.maximum(fixed_sum(weights * directions), 0.0)),
        weights=Sliced.of(whole, SCORING_SLICES),
        has_metric=ridge is not None,
    )
