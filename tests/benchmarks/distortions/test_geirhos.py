from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visual_memory_benchmarks.distortions import geirhos
from visual_memory_benchmarks.distortions.picture import Floats, Picture, grey
from visual_memory_benchmarks.errors import CannotDistort

SIDE = 224
MEAN = 0.4423
WIDTHS = [30, 60, 90, 120, 150, 180]


@pytest.fixture
def plane(clean: Picture) -> Floats:
    return grey(clean)


def one_over_f(seed: int, side: int = SIDE) -> Floats:
    """Return a plane of 1/f amplitudes, with a mean of 0.45 and a deviation of 0.1."""
    rng = np.random.default_rng(seed)
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequencies[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.standard_normal((side, side)))
    made = np.fft.ifft2(spectrum / np.abs(spectrum) / frequencies).real
    plane: Floats = (0.45 + 0.1 * made / made.std()).astype(np.float32)
    return plane


@given(st.floats(0, 1), st.floats(0, 1))
def test_contrast_shrinks_around_mid_grey(factor: float, value: float) -> None:
    seen = geirhos.contrast(np.array([[value, 0.5]], np.float32), factor)
    assert seen[0, 1] == pytest.approx(0.5, abs=1e-6)
    assert seen[0, 0] - 0.5 == pytest.approx(factor * (value - 0.5), abs=1e-6)


def test_full_contrast_is_the_plane(plane: Floats) -> None:
    np.testing.assert_array_equal(geirhos.contrast(plane, 1.0), plane)


@pytest.mark.parametrize("width", [0.03, 0.05, 0.1, 0.2, 0.35, 0.6, 0.9])
def test_uniform_noise_fills_its_width_evenly(
    plane: Floats, width: float, rng: np.random.Generator
) -> None:
    noise = geirhos.uniform_noise(plane, width, rng) - geirhos.contrast(plane, 0.3)
    assert noise.min() == pytest.approx(-width, abs=0.001)
    assert noise.max() == pytest.approx(width, abs=0.001)
    assert noise.mean() == pytest.approx(0, abs=0.02 * width)
    assert noise.std() == pytest.approx(width / np.sqrt(3), rel=0.02)
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.02


def test_no_noise_is_the_plane_at_30_percent_contrast(
    plane: Floats, rng: np.random.Generator
) -> None:
    quiet = geirhos.contrast(plane, 0.3)
    np.testing.assert_array_equal(geirhos.uniform_noise(plane, 0.0, rng), quiet)
    np.testing.assert_array_equal(geirhos.salt_and_pepper(plane, 0.0, rng), quiet)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95])
def test_half_of_the_replaced_pixels_are_black_and_half_are_white(
    plane: Floats, share: float, rng: np.random.Generator
) -> None:
    seen = np.clip(geirhos.salt_and_pepper(plane, share, rng), 0, 1)
    sigma = np.sqrt(share / 2 * (1 - share / 2) / seen.size)
    assert (seen == 0).mean() == pytest.approx(share / 2, abs=5 * sigma)
    assert (seen == 1).mean() == pytest.approx(share / 2, abs=5 * sigma)
    kept = (seen > 0) & (seen < 1)
    np.testing.assert_array_equal(seen[kept], geirhos.contrast(plane, 0.3)[kept])


@pytest.mark.parametrize("sigma", [1, 3, 5, 7, 10, 15, 40])
def test_beyond_the_border_of_a_low_pass_lies_the_mean_grey_of_the_stimuli(sigma: float) -> None:
    flat = np.full((SIDE, SIDE), MEAN, np.float32)
    np.testing.assert_allclose(geirhos.low_pass(flat, sigma), MEAN, atol=1e-6)
    dark = geirhos.low_pass(np.zeros((SIDE, SIDE), np.float32), sigma)
    assert dark[0, 0] == pytest.approx(0.75 * MEAN, rel=0.35 / sigma + 0.01)  # a corner
    assert dark[0, 0] == pytest.approx(dark.max(), rel=1e-6)


def test_a_low_pass_of_nothing_and_a_high_pass_of_everything_are_the_plane(plane: Floats) -> None:
    np.testing.assert_array_equal(geirhos.low_pass(plane, 0), plane)
    np.testing.assert_array_equal(geirhos.high_pass(plane, np.inf), plane)


def test_a_low_pass_lets_pass_what_a_gaussian_does() -> None:
    cycles, sigma = 16, 3.0
    wave = 0.1 * np.cos(2 * np.pi * cycles * np.arange(SIDE) / SIDE, dtype=np.float32)
    passed = geirhos.low_pass(np.tile(MEAN + wave, (SIDE, 1)), sigma)[100, 50:170] - MEAN
    expected = np.exp(-2 * (np.pi * sigma * cycles / SIDE) ** 2)
    np.testing.assert_allclose(passed, expected * wave[50:170], atol=2e-4)


@pytest.mark.parametrize("sigma", [3.0, 1.5, 1.0, 0.7, 0.55, 0.45, 0.4])
def test_a_high_pass_has_the_mean_grey_of_the_stimuli(plane: Floats, sigma: float) -> None:
    high = geirhos.high_pass(plane, sigma)
    assert high.mean(dtype=np.float64) == pytest.approx(MEAN, abs=1e-6)
    rest = high + geirhos.low_pass(plane, sigma) - plane
    assert np.ptp(rest) < 1e-5


def test_phases_within_no_degrees_are_the_plane(plane: Floats, rng: np.random.Generator) -> None:
    for mode in ("hermitian", "published"):
        same = geirhos.phase_scrambling(plane, 0, rng, mode)
        np.testing.assert_allclose(same, plane, atol=2e-6)


@pytest.mark.parametrize("side", [(224, 224), (64, 50), (51, 64), (33, 47)])
@pytest.mark.parametrize("degrees", WIDTHS)
def test_scrambled_phases_keep_all_amplitudes_and_the_contrast(
    side: tuple[int, int], degrees: int, rng: np.random.Generator
) -> None:
    plane = rng.random(side).astype(np.float32)
    before = np.fft.fft2(plane.astype(np.float64))
    seen = geirhos.phase_scrambling(plane, degrees, rng).astype(np.float64)
    after = np.fft.fft2(seen)
    np.testing.assert_allclose(np.abs(after), np.abs(before), atol=2e-6 * np.abs(before[0, 0]))
    assert seen.std() == pytest.approx(plane.std(), rel=1e-5)
    assert seen.mean() == pytest.approx(plane.mean(), rel=1e-5)


@pytest.mark.parametrize("degrees", WIDTHS)
def test_phases_are_shifted_evenly_within_the_width(degrees: int, rng: np.random.Generator) -> None:
    plane = rng.random((SIDE, SIDE)).astype(np.float32)
    before = np.fft.fftshift(np.fft.fft2(plane.astype(np.float64)))
    seen = geirhos.phase_scrambling(plane, degrees, rng).astype(np.float64)
    after = np.fft.fftshift(np.fft.fft2(seen))
    shifts = np.rad2deg(np.angle(after / before))
    strong = np.abs(before) > 5
    assert np.abs(shifts[0][strong[0]]).max() < 0.1  # the first row, the first column and the mean
    assert np.abs(shifts[:, 0][strong[:, 0]]).max() < 0.1
    assert abs(shifts[SIDE // 2, SIDE // 2]) < 0.1
    inner = shifts[1:, 1:][strong[1:, 1:]]
    if degrees < 180:  # else a shift comes back from the other side
        assert np.abs(inner).max() < degrees + 0.1
    assert inner.std() == pytest.approx(degrees / np.sqrt(3), rel=0.02)


def test_the_published_phases_lose_as_much_contrast_as_was_measured() -> None:
    plane = one_over_f(1)
    for degrees, ratio in {30: 0.976, 90: 0.826, 150: 0.727, 180: 0.677}.items():
        kept = [
            geirhos.phase_scrambling(plane, degrees, np.random.default_rng(seed), "published").std()
            / plane.std()
            for seed in range(12)
        ]
        # The few coarsest frequencies carry most of the contrast, so a single plane varies.
        assert np.mean(kept) == pytest.approx(ratio, abs=0.05)


def test_power_equalisation_takes_the_amplitudes_and_leaves_the_phases(plane: Floats) -> None:
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    amplitudes = 100 / (frequencies + 0.01)
    before = np.fft.fft2(plane.astype(np.float64))
    after = np.fft.fft2(geirhos.power_equalisation(plane, amplitudes).astype(np.float64))
    np.testing.assert_allclose(np.abs(after), amplitudes, rtol=1e-3)
    strong = np.abs(before) > 1
    assert np.abs(np.angle(after[strong] / before[strong])).max() < 1e-3


def test_a_picture_with_its_own_amplitudes_is_unchanged(clean: Picture) -> None:
    amplitudes = geirhos.mean_amplitudes([clean])
    plane = grey(clean)
    np.testing.assert_allclose(geirhos.power_equalisation(plane, amplitudes), plane, atol=1e-5)


def test_amplitudes_are_averaged_and_not_their_squares() -> None:
    flat = [np.full((32, 32, 3), level, np.uint8) for level in (51, 204)]
    amplitudes = geirhos.mean_amplitudes(flat)
    assert amplitudes[0, 0] == pytest.approx(0.5 * 32 * 32, rel=1e-6)
    assert np.abs(np.delete(amplitudes.ravel(), 0)).max() < 1e-3


def test_amplitudes_need_pictures_of_one_size() -> None:
    with pytest.raises(CannotDistort, match="not of 32 × 32 and 32 × 40"):
        geirhos.mean_amplitudes([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 40, 3), np.uint8)])
    with pytest.raises(CannotDistort, match="no pictures"):
        geirhos.mean_amplitudes([])
    with pytest.raises(CannotDistort, match="not of 32 × 32 and 64 × 64"):
        geirhos.power_equalisation(np.zeros((64, 64), np.float32), np.ones((32, 32)))


def test_photographs_have_the_amplitudes_of_natural_scenes(photographs: list[Picture]) -> None:
    amplitudes = geirhos.mean_amplitudes(photographs)
    assert 0.3 * SIDE**2 < amplitudes[0, 0] < 0.6 * SIDE**2
    cycles = np.rint(np.hypot(*np.meshgrid(*[np.fft.fftfreq(SIDE, 1 / SIDE)] * 2))).astype(int)
    radial = np.bincount(cycles.ravel(), amplitudes.ravel()) / np.bincount(cycles.ravel())
    at = np.array([1, 2, 4, 8, 16, 32, 64, 100])
    published = np.array([1917.6, 1093.5, 439.9, 184.4, 74.4, 30.8, 14.1, 6.9])
    assert (np.abs(np.log(radial[at] / published)) < np.log(1.8)).all()
    slope = np.polyfit(np.log(at), np.log(radial[at]), 1)[0]
    assert slope == pytest.approx(-1.26, abs=0.2)
    axes = (amplitudes[0, 8:64].mean() + amplitudes[8:64, 0].mean()) / 2
    diagonal = np.sqrt(0.5) * np.arange(8, 64)
    places = np.rint(diagonal).astype(int)
    assert axes > 1.2 * amplitudes[places, places].mean()


def test_turns_go_counter_clockwise() -> None:
    plane = np.array([[1, 2], [3, 4]], np.float32)
    assert geirhos.rotation(plane, 0).tolist() == [[1, 2], [3, 4]]
    assert geirhos.rotation(plane, 90).tolist() == [[2, 4], [1, 3]]
    assert geirhos.rotation(plane, 180).tolist() == [[4, 3], [2, 1]]
    assert geirhos.rotation(plane, 270).tolist() == [[3, 1], [4, 2]]
