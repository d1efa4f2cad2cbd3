from __future__ import annotations

import numpy as np
import pytest

from visual_memory_benchmarks.distortions import frost


@pytest.mark.parametrize("size", [(224, 224), (32, 32), (50, 300)])
def test_crystals_cover_a_window_of_any_size(
    size: tuple[int, int], rng: np.random.Generator
) -> None:
    window = frost.crystals(*size, rng)
    assert window.shape == (*size, 3)
    assert 0 <= window.min() < window.max() <= 1


def test_crystals_are_bluish_bright_lines_on_dark(rng: np.random.Generator) -> None:
    window = frost.crystals(224, 224, rng)
    assert (window[..., 2] >= window[..., 1]).all()
    assert (window[..., 1] >= window[..., 0]).all()
    assert 0.3 < window.mean() < 0.7
    assert window.std() > 0.1
    assert window.max() > 0.9


def test_every_window_freezes_differently() -> None:
    one, other = (frost.crystals(64, 64, np.random.default_rng(seed)) for seed in (1, 2))
    assert np.abs(one - other).mean() > 0.03
