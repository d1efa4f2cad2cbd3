from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from visual_memory_benchmarks.distortions.eidolon import (
    PLANE,
    SIGMAS,
    Disarray,
    Noise,
    displacements,
    eidolon,
    embedded,
    slices,
)
from visual_memory_benchmarks.distortions.filters import normals
from visual_memory_benchmarks.distortions.picture import Floats, Picture, grey, shown

BEFORE_BLUR = 27.0  # about the deviation of 512² normal numbers whose largest is scaled to 127.5
CROP = slice(128, 384)


def blurred(plane: Floats, sigma: float) -> Floats:
    """Blur circularly by a Gaussian with all its frequencies, in 64 bits."""
    kept = np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(PLANE)) ** 2)
    spectrum = np.fft.fft2(plane.astype(np.float64)) * np.outer(kept, kept)
    found: Floats = np.fft.ifft2(spectrum).real
    return found


def plane_of(spectrum: np.ndarray) -> Floats:
    whole = np.zeros((PLANE, PLANE // 2 + 1), np.complex128)
    whole[:, : spectrum.shape[1]] = spectrum
    found: Floats = np.fft.irfft2(whole, norm="ortho")
    return found


def square(picture: Picture) -> Floats:
    """Return the picture in grey levels, resized to 256 × 256."""
    image = Image.fromarray(shown(grey(picture))[..., 0]).resize(
        (256, 256), Image.Resampling.LANCZOS
    )
    return np.asarray(image, np.float32)


def test_there_are_twelve_scales_from_0_7071_to_32() -> None:
    assert len(SIGMAS) == 12
    np.testing.assert_allclose(SIGMAS, np.sqrt(2) ** np.arange(12) / np.sqrt(2))
    assert SIGMAS[0] == pytest.approx(0.7071, abs=1e-4)
    assert SIGMAS[-1] == pytest.approx(32)


def test_slices_sum_to_the_picture_at_the_finest_scale(clean: Picture) -> None:
    plane = embedded(square(clean))
    layers = list(slices(plane))
    assert len(layers) == 12
    np.testing.assert_allclose(np.sum(layers, axis=0), blurred(plane, SIGMAS[0]), atol=5e-3)
    np.testing.assert_allclose(
        np.sum(layers[:-3], axis=0), blurred(plane, SIGMAS[3]), atol=5e-3, rtol=0
    )
    np.testing.assert_allclose(layers[0], blurred(plane, SIGMAS[-1]), atol=5e-3)


def test_every_slice_but_the_coarsest_has_no_mean(clean: Picture) -> None:
    coarsest, *others = slices(embedded(square(clean)))
    assert coarsest.mean() == pytest.approx(embedded(square(clean)).mean(), rel=1e-4)
    for layer in others:
        assert abs(layer.mean(dtype=np.float64)) < 1e-3


def test_a_picture_lies_between_its_mirror_images() -> None:
    plane = embedded(np.arange(256 * 256, dtype=np.float32).reshape(256, 256))
    assert plane.shape == (512, 512)
    middle = plane[CROP, CROP]
    assert middle[0, 0] == 0
    np.testing.assert_array_equal(plane[CROP, :128], middle[:, 127::-1])
    np.testing.assert_array_equal(plane[CROP, 384:], middle[:, :127:-1])
    np.testing.assert_array_equal(plane[:128], plane[255:127:-1])
    np.testing.assert_array_equal(plane[384:], plane[383:255:-1])


@pytest.mark.parametrize("sigma", [2.0, SIGMAS[6], 10.0, SIGMAS[-1]])
def test_noise_has_the_published_amplitude_and_the_slip_in_its_mean(
    sigma: float, rng: np.random.Generator
) -> None:
    noise = Noise(rng)
    deviations, means = [], []
    for _ in range(12):
        plane = plane_of(noise.spectrum(sigma))
        deviation = plane.std()
        deviations.append(deviation)
        means.append(plane.mean())
        # What remains of a mean m is m − m / deviation.
        mean = plane.mean() / (1 - 1 / deviation)
        assert abs(mean) < 5 * BEFORE_BLUR / PLANE
    assert np.mean(deviations) == pytest.approx(BEFORE_BLUR / (2 * np.sqrt(np.pi) * sigma), rel=0.1)
    expected = BEFORE_BLUR / PLANE * abs(1 - 1 / np.mean(deviations))
    assert np.std(means) == pytest.approx(expected, rel=0.6)


def test_the_slip_subtracts_the_quotient() -> None:
    with_slip = plane_of(Noise(np.random.default_rng(5)).spectrum(10.0))
    plane = normals(np.random.default_rng(5), (PLANE, PLANE))
    plane = np.clip(plane * (127.5 / np.abs(plane).max()), -127, 127)
    smooth = blurred(plane, 10.0)
    expected = smooth - smooth.mean() / smooth.std()
    np.testing.assert_allclose(with_slip, expected, atol=1e-3)


def deviations(disarray: Disarray, times: int = 4) -> Floats:
    """Return the standard deviations of the slices' displacements, coarsest first."""
    rng = np.random.default_rng(7)
    found = [[d.std() for d in displacements(disarray, rng)] for _ in range(times)]
    mean: Floats = np.mean(found, axis=0)
    return mean


def test_incoherent_displacements_are_of_the_grain_at_every_scale() -> None:
    amplitude = BEFORE_BLUR / (2 * np.sqrt(np.pi) * 10)
    np.testing.assert_allclose(deviations(Disarray(1, 0.0)), amplitude, rtol=0.15)


def test_coherent_displacements_add_up_from_coarse_to_fine() -> None:
    # Noise blurred by sigma, times sigma / 64, has the same deviation at every scale.
    each = BEFORE_BLUR / (2 * np.sqrt(np.pi)) / 64
    found = deviations(Disarray(1, 1.0))
    np.testing.assert_allclose(found[2:10], each * np.sqrt(np.arange(3, 11)), rtol=0.25)


def test_displacements_are_mixed_by_the_corrected_formula() -> None:
    own = deviations(Disarray(1, 0.0))
    shared = deviations(Disarray(1, 1.0))
    mixed = deviations(Disarray(1, 0.3))
    corrected = np.hypot(0.7 * own, 0.3 * shared)
    toolbox = np.hypot(0.3 * own, shared)
    np.testing.assert_allclose(mixed, corrected, rtol=0.15)
    assert (np.abs(mixed - toolbox) > 0.05)[:6].all()


def test_scales_that_cohere_move_together_and_others_do_not(rng: np.random.Generator) -> None:
    def likeness(coherence: float) -> float:
        finer = list(displacements(Disarray(1, coherence), rng))[4:]
        pairs = itertools.pairwise(finer)
        return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))

    assert likeness(1.0) > 0.85
    assert abs(likeness(0.0)) < 0.15


def test_what_does_not_move_is_the_picture_at_the_finest_scale(
    clean: Picture, rng: np.random.Generator
) -> None:
    still = eidolon(clean, Disarray(0, 0.3), rng)
    plane = np.sum(list(slices(embedded(square(clean)))), axis=0)[CROP, CROP]
    expected = Image.fromarray(np.clip(plane, 0, 255).astype(np.uint8)).resize(
        (224, 224), Image.Resampling.LANCZOS
    )
    difference = still[..., 0].astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1


def test_pixels_move_by_the_reach_times_the_displacement(clean: Picture) -> None:
    picture = np.repeat(square(clean).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    disarray = Disarray(16, 0.3)
    rng = np.random.default_rng(9)
    layers = slices(embedded(square(picture)))
    down, across = displacements(disarray, rng), displacements(disarray, rng)
    total = np.zeros((256, 256), np.float32)
    for layer, rows, columns in zip(layers, down, across, strict=True):
        for row in range(0, 256, 16):
            for column in range(256):
                y = int(np.clip(np.float32(128 + row) + 16 * rows[row, column], 0, 511))
                x = int(np.clip(np.float32(128 + column) + 16 * columns[row, column], 0, 511))
                total[row, column] += layer[y, x]
    seen = eidolon(picture, disarray, np.random.default_rng(9))[::16, :, 0]
    expected = np.clip(total[::16], 0, 255).astype(np.uint8)
    assert (np.abs(seen.astype(int) - expected) <= 1).all()


def test_further_reach_leaves_less_of_the_picture(clean: Picture) -> None:
    still = eidolon(clean, Disarray(0, 1.0), np.random.default_rng(1)).astype(float)
    changes = [
        np.abs(eidolon(clean, Disarray(reach, 1.0), np.random.default_rng(1)) - still).mean()
        for reach in (1, 8, 64)
    ]
    assert changes == sorted(changes)
