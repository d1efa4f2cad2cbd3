from __future__ import annotations

import itertools

from visual_memory_benchmarks.distortions.seeding import generator


def test_the_same_four_give_the_same_numbers() -> None:
    one, other = (generator(1, "fog", "3", "a.png") for _ in range(2))
    assert one.integers(0, 2**60, 8).tolist() == other.integers(0, 2**60, 8).tolist()


def test_another_of_the_four_gives_other_numbers() -> None:
    identities = itertools.product([1, 2], ["fog", "snow"], ["3", "4"], ["a.png", "b.png"])
    numbers = [int(generator(*identity).integers(0, 2**60)) for identity in identities]
    assert len(set(numbers)) == 16


def test_parts_that_read_alike_when_joined_are_told_apart() -> None:
    assert generator(1, "a", "bc", "d").random() != generator(1, "ab", "c", "d").random()


def test_numbers_stay_what_they_are() -> None:
    assert generator(1, "fog", "3", "a.png").integers(0, 1000, 4).tolist() == [619, 886, 273, 876]
