from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_benchmarks.distortions.bank import SIDES, Bank
from visual_memory_benchmarks.errors import CannotDistort


def test_thumbnails_are_of_the_square_in_the_middle() -> None:
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[:, 20:80] = 200
    picture[:, :20] = picture[:, 80:] = 7
    bank = Bank([picture])
    for side in SIDES:
        assert bank.tiles(side).shape == (1, side, side, 3)
        assert (bank.tiles(side) == 200).all()


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=12), st.data())
def test_the_nearest_tile_is_the_one_of_least_distance(
    colours: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    bank = Bank(np.full((30, 30, 3), colour, np.uint8) for colour in colours)
    wanted = data.draw(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=5))
    chosen = bank.nearest(8, np.array(wanted, np.float32))
    for want, number in zip(np.array(wanted), chosen, strict=True):
        distances = ((np.array(colours) - want) ** 2).sum(axis=1)
        assert distances[number] == distances.min()
        assert number == distances.argmin()


def test_many_colours_are_answered_in_parts(monkeypatch: pytest.MonkeyPatch, bank: Bank) -> None:
    colours = np.random.default_rng(1).uniform(0, 255, (50, 3)).astype(np.float32)
    whole = bank.nearest(16, colours)
    monkeypatch.setattr("visual_memory_benchmarks.distortions.bank._AT_ONCE", 7 * len(bank))
    np.testing.assert_array_equal(bank.nearest(16, colours), whole)


def test_a_bank_of_nothing_is_refused() -> None:
    with pytest.raises(CannotDistort, match="at least one picture"):
        Bank([])
