from __future__ import annotations

import numpy as np

from visual_memory_benchmarks.laboratory.gallery import Gallery, joined, one_by_one, parts


def to_gallery(labels: str) -> Gallery:
    """Make a gallery with an entry for each letter."""
    n = len(labels)
    ids = np.array([f"{at:03}" for at in range(n)])
    return Gallery(ids, np.array(list(labels)), np.arange(2 * n, dtype=np.float32).reshape(n, 2))


def test_parts_hold_every_picture_once_and_their_share_of_every_label() -> None:
    gallery = to_gallery("a" * 20 + "b" * 8)
    found = gallery.parts((0.5, 0.25, 0.25), np.random.default_rng(0))
    assert [(each.labels == "a").sum() for each in found] == [10, 5, 5]
    assert [(each.labels == "b").sum() for each in found] == [4, 2, 2]
    whole = joined(found)
    assert sorted(whole.ids) == gallery.ids.tolist()
    rows = {id: row.tolist() for id, row in zip(gallery.ids, gallery.vectors, strict=True)}
    assert all(rows[id] == row.tolist() for id, row in zip(whole.ids, whole.vectors, strict=True))


def test_odd_groups_lose_no_picture_to_rounding() -> None:
    found = parts(np.array(list("aaaaabbb")), (1 / 3, 1 / 3, 1 / 3), np.random.default_rng(0))
    assert sorted(np.concatenate(found)) == list(range(8))


def test_what_comes_first_of_each_group_is_part_of_every_larger_dose() -> None:
    labels = np.array(list("ababababa"))
    places = one_by_one(labels, np.random.default_rng(0))
    assert sorted(places[labels == "a"]) == list(range(5))
    assert sorted(places[labels == "b"]) == list(range(4))
    assert [(labels[places < dose] == "a").sum() for dose in range(4)] == [0, 1, 2, 3]
