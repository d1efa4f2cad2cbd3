from __future__ import annotations

import numpy as np
import pytest

from visual_memory_benchmarks.distortions.fractal import plasma
from visual_memory_benchmarks.distortions.picture import Floats


@pytest.mark.parametrize("size", [(256, 256), (224, 224), (32, 200), (33, 40), (65, 64)])
def test_plasma_is_of_any_size_and_from_0_to_1(
    size: tuple[int, int], rng: np.random.Generator
) -> None:
    plane = plasma(*size, 2.0, rng)
    assert plane.shape == size
    assert 0 <= plane.min() < plane.max() <= 1


def test_a_whole_square_reaches_both_ends_and_closes_on_itself(rng: np.random.Generator) -> None:
    plane = plasma(128, 128, 2.5, rng)
    assert plane.min() == 0
    assert plane.max() == 1
    steps = np.abs(np.diff(plane, axis=0)).mean()
    assert np.abs(plane[0] - plane[-1]).mean() < 3 * steps


def roughness(decay: float) -> Floats:
    """Return the mean change of a plane over steps of 1, 2, 4 … pixels."""
    planes = [plasma(256, 256, decay, np.random.default_rng(seed)) for seed in range(6)]
    return np.array(
        [np.mean([np.abs(p - np.roll(p, step, 0)).mean() for p in planes]) for step in (1, 2, 4, 8)]
    )


def test_noise_shrinks_by_the_square_of_the_decay_until_planes_are_smooth() -> None:
    rough, medium = roughness(1.2), roughness(1.4)
    assert (rough > medium).all()
    ratios = rough[1:] / rough[:-1]
    np.testing.assert_allclose(ratios, 1.2**2, atol=0.2)
    assert (roughness(2.5)[1:] / roughness(2.5)[:-1] > 1.8).all()  # as good as slopes
