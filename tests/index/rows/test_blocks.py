"""A removed row is overwritten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from visual_memory_index.rows.blocks import Blocks, fresh

SMALL_BLOCK = 8


class SmallBlocks(Blocks):
    """Blocks of eight rows: from nine rows on there are several."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension, SMALL_BLOCK)

    def leftovers(self) -> NDArray[np.float32]:
        """Return the content of the last block beyond the rows."""
        return self._blocks[-1][self.count - SMALL_BLOCK * (len(self._blocks) - 1) :]


@given(st.integers(1, 30), st.data())
def test_removing_keeps_the_other_rows_and_wipes_the_place_that_gets_free(
    m: int, data: st.DataObject
) -> None:
    vectors = np.arange(1, 1 + 2 * m, dtype=np.float32).reshape(m, 2)
    index, model = SmallBlocks(2), vectors.tolist()
    index.append(vectors)
    index.leftovers()[:] = 0

    for _ in range(data.draw(st.integers(1, m))):
        row = data.draw(st.integers(0, len(model) - 1))
        index.remove(np.array([row]))
        model[row] = model[-1]
        model.pop()

        assert index.gather(np.arange(len(model))).tolist() == model
        assert not index.leftovers().any()


def test_where_the_system_has_no_room_for_rows_it_is_a_lack_of_memory() -> None:
    with pytest.raises(MemoryError):
        fresh((1 << 59,), np.float64)
