"""Response entropy: the spread of answers over the categories (Geirhos et al., 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def response_entropy(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return −Σ p log₂ p over the shares of the categories in all answers, for each maker (m,).

    ``confusions`` (m, shown, answered) as ``confusion`` counts them: ``na`` is no category, but its
    answers are answers. At most log₂ of the number of categories, 4 bits for 16.
    """
    answers = confusions.sum(axis=1)
    shares = answers[:, :-1] / answers.sum(axis=1, keepdims=True)
    logarithms = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropies: NDArray[np.float64] = (shares * -logarithms).sum(axis=1)
    return entropies
