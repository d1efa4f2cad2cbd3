from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from visual_memory_index import unexplained

PIECES = st.frozensets(st.binary(min_size=1, max_size=4))


@given(found=PIECES, there=PIECES)
def test_a_piece_is_explained_by_one_that_has_it_in_it(
    found: frozenset[bytes], there: frozenset[bytes]
) -> None:
    expected = {piece for piece in found if not any(piece in each for each in there)}

    assert unexplained(found, there) == expected


def test_two_pieces_beside_each_other_explain_nothing() -> None:
    there = frozenset({b"a" + bytes(3), bytes(3) + b"b"})

    assert unexplained(frozenset({bytes(32)}), there) == {bytes(32)}
