"""Products and inverses of matrices whose bits depend on the numbers alone.

BLAS sums in an order that depends on the processor, on the number of threads and on the shapes.
Sums of integers below 2⁵³ are exact in float64, in any order. So each matrix is cut into a few
matrices of small integers, and their products are exact (the error-free transformation of Ozaki et
al., 2012, Error-free transformations of matrix multiplication, with a fixed number of slices).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual_memory_index.rows.multiply import multiply, positive_inverse

SLICES = 3
EXACT_BITS = 53  # of an integer in float64
LEAF = 32  # rows of a matrix that is inverted element by element

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sliced:
    """A matrix (m, n) as a sum of matrices of integers, each row with an exponent of its own.

    It is the sum of ``slices[i]`` · 2^(``exponents`` − (i + 1) · ``bits``), up to a part of each
    row's largest number that is below 2^(−``SLICES`` · ``bits``). ``exponents`` is int32 (m, 1).
    """

    slices: tuple[Matrix, ...]
    exponents: NDArray[np.int32]
    bits: int

    @classmethod
    def of(cls, matrix: Matrix, slices: int = SLICES) -> Sliced:
        """Cut ``matrix`` so that products of slices summed over its columns are exact."""
        bits = (EXACT_BITS - matrix.shape[1].bit_length()) // 2
        _, exponents = np.frexp(np.abs(matrix).max(axis=1, keepdims=True, initial=0.0))
        rest, found = matrix * np.ldexp(1.0, -exponents), []
        for _ in range(slices):
            rest *= 2.0**bits
            found.append(np.rint(rest))
            rest -= found[-1]
        return cls(tuple(found), exponents, bits)


def product(left: Matrix, right: Matrix) -> Matrix:
    """Return ``left`` (m, k) times the transpose of ``right`` (n, k), float64 (m, n).

    A number of the result depends on one row of each matrix alone. It is off by at most some units
    in the 50th binary place of the product of these rows' largest numbers, times k.
    """
    return sliced_product(Sliced.of(left), Sliced.of(right))


def sliced_product(left: Sliced, right: Sliced) -> Matrix:
    """Return the ``product`` of two matrices that are cut already."""
    total = np.zeros((len(left.exponents), len(right.exponents)))
    for order in reversed(range(max(len(left.slices), len(right.slices)))):
        for i, part in enumerate(left.slices):
            if 0 <= order - i < len(right.slices):
                exact = multiply(part, right.slices[order - i].T)
                exact *= 2.0 ** (-(order + 2) * left.bits)
                total += exact
    total *= np.ldexp(1.0, left.exponents)
    total *= np.ldexp(1.0, right.exponents).T
    return total


def inverse(matrix: Matrix) -> Matrix | None:
    """Return the inverse of a symmetric, positive definite ``matrix`` (d, d).

    It is the product of the inverse of the Cholesky factor, transposed, with itself, so it is
    positive definite, too. Return None if rounding errors leave a pivot that is not above 0.
    """
    factor = _inverse_factor(matrix)
    if factor is None:
        return None
    whole = product(factor.T, factor.T)
    return (whole + whole.T) / 2.0


def _inverse_factor(matrix: Matrix) -> Matrix | None:
    """Return the inverse T of the lower Cholesky factor, so that T · matrix · Tᵀ is the identity.

    It is found by halves: the factor of the second half is that of the rest which the first leaves
    (Golub and Van Loan, Matrix Computations, section 4.2.9).
    """
    size = len(matrix)
    if size <= LEAF:
        return _small_inverse_factor(matrix)
    half = size // 2
    first = _inverse_factor(matrix[:half, :half])
    if first is None:
        return None
    across = product(matrix[half:, :half], first)
    second = _inverse_factor(matrix[half:, half:] - product(across, across))
    if second is None:
        return None
    factor = np.zeros_like(matrix)
    factor[:half, :half], factor[half:, half:] = first, second
    factor[half:, :half] = -product(product(second, across.T), first.T)
    return factor


def _small_inverse_factor(matrix: Matrix) -> Matrix | None:
    """Return the result of ``_inverse_factor`` by additions, products and roots alone."""
    size = len(matrix)
    both = np.concatenate([matrix, np.eye(size)], axis=1)
    for at in range(size):
        if not both[at, at] > 0.0:
            return None
        both[at] /= np.sqrt(both[at, at])
        both[at + 1 :] -= (both[at, at + 1 : size, np.newaxis]) * both[at]
    return both[:, size:]


def rounded_inverse(matrix: Matrix) -> Matrix | None:
    """Return the inverse by LAPACK, faster than ``inverse``; None if not positive definite.

    Its last bits depend on the processor.
    """
    try:
        return positive_inverse(matrix)
    except np.linalg.LinAlgError:
        return None
