"""Vectors so close that it is hard to tell which is nearer."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index import unit_rows


@st.composite
def crowds(draw: st.DrawFn) -> NDArray[np.float32]:
    """Draw unit vectors that are equal, nearly equal or in clusters, some a little too long."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    m, d = draw(st.integers(1, 60)), draw(st.sampled_from([1, 2, 3, 16, 64]))
    centres = rng.standard_normal((draw(st.integers(1, 5)), d))
    spread = draw(st.sampled_from([0, 1e-8, 1e-7, 1e-6, 1e-3, 1]))
    rows = centres[rng.integers(len(centres), size=m)] + spread * rng.standard_normal((m, d))
    units = unit_rows(rows.astype(np.float32))
    if draw(st.booleans()):
        units = (units * (1 + rng.uniform(-9e-7, 9e-7, (m, 1)))).astype(np.float32)
    return units
