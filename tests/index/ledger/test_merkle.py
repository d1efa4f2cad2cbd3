"""The tree is that of RFC 6962: known roots, and roots of every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.index.ledger.frontier import peaks_of, root_of

from visual_memory_index.ledger.merkle import append, leaf_hash, node_hash, root

# The test vectors of the Certificate Transparency project.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes([number])) for number in range(40)]


def by_definition(leaves: list[bytes]) -> bytes:
    """Return the root by the recursion of RFC 6962, section 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return node_hash(by_definition(leaves[:split]), by_definition(leaves[split:]))


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_the_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root_of(map(leaf_hash, ENTRIES[:size])).hex() == ROOTS[size]


@pytest.mark.parametrize("size", range(1, len(LEAVES) + 1))
def test_the_root_of_any_size_is_that_of_the_recursion(size: int) -> None:
    assert root_of(LEAVES[:size]) == by_definition(LEAVES[:size])


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_kept_frontier_grows_on(kept: int, more: int) -> None:
    peaks = peaks_of(LEAVES[:kept])

    for size, leaf in enumerate(LEAVES[:more], kept):
        peaks = append(size, peaks, leaf)

    assert len(peaks) == 32 * (kept + more).bit_count()
    assert root(kept + more, peaks) == root_of([*LEAVES[:kept], *LEAVES[:more]])


def test_a_frontier_with_peaks_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="3 leaves have 2 peaks, not 1"):
        append(3, bytes(32), LEAVES[0])
    with pytest.raises(ValueError, match="3 leaves have 2 peaks, not 1"):
        root(3, bytes(32))
