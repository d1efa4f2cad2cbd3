"""The distortions of Geirhos et al. (2018, 2021), whose effect on people was measured, in grey.

Planes are not clipped here, so that the mean or spectrum that a formula promises can be checked:
``picture.shown`` clips.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions import filters
from visual_memory_benchmarks.distortions.picture import Floats, Picture, grey
from visual_memory_benchmarks.errors import CannotDistort

MEAN_GREY = np.float32(0.4423)  # of the published stimuli
NOISE_CONTRAST = 0.3


def contrast(plane: Floats, factor: float) -> Floats:
    """Scale contrast around mid-grey."""
    return np.float32((1 - factor) / 2) + np.float32(factor) * plane


def uniform_noise(plane: Floats, width: float, rng: np.random.Generator) -> Floats:
    """Reduce contrast to 30 %, also at width 0, and add uniform noise from [−width, width)."""
    noise = (2 * rng.random(plane.shape, np.float32) - 1) * np.float32(width)
    return contrast(plane, NOISE_CONTRAST) + noise


def salt_and_pepper(plane: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Reduce contrast to 30 %, and make this share of the pixels black or white, half each."""
    drawn = rng.random(plane.shape, np.float32)
    pepper, salt = drawn < share / 2, drawn >= 1 - share / 2
    return contrast(plane, NOISE_CONTRAST) + salt - pepper


def low_pass(plane: Floats, sigma: float) -> Floats:
    """Blur by a Gaussian, with the stimuli's mean grey beyond the border; sigma 0 does nothing."""
    if sigma == 0:
        return plane
    return filters.gaussian(plane - MEAN_GREY, sigma, "constant") + MEAN_GREY


def high_pass(plane: Floats, sigma: float) -> Floats:
    """Subtract the low pass of ``sigma``, and shift the mean to mean grey.

    An infinite sigma does nothing.
    """
    if np.isinf(sigma):
        return plane
    rest = plane - low_pass(plane, sigma)
    return rest + np.float32(MEAN_GREY - rest.mean(dtype=np.float64))


def phase_scrambling(
    plane: Floats,
    degrees: float,
    rng: np.random.Generator,
    mode: Literal["hermitian", "published"] = "hermitian",
) -> Floats:
    """Shift each phase by a random angle of up to ± ``degrees``, keeping amplitudes.

    The mode ``published`` does as the released code: it subtracts the shifts from the second half
    of the spectrum in the order of the first half, not mirrored, so the result is complex, and
    dropping its imaginary part lowers contrast. It is not known if people saw such stimuli: name
    the mode beside a comparison with them.
    """
    spectrum = np.fft.fftshift(np.fft.fft2(plane, norm=filters.NORM))
    # Without the first row and column of even sides, frequencies are symmetric about the mean.
    block = spectrum[1 - plane.shape[0] % 2 :, 1 - plane.shape[1] % 2 :]
    half = block.size // 2
    shifts = np.deg2rad(degrees) * (2 * rng.random(half) - 1)
    mirrored = shifts[::-1] if mode == "hermitian" else shifts
    phases = np.concatenate([shifts, [0.0], -mirrored]).reshape(block.shape)
    block *= np.exp(1j * phases).astype(np.complex64)
    return np.fft.ifft2(np.fft.ifftshift(spectrum), norm=filters.NORM).real


def mean_amplitudes(pictures: Iterable[Picture]) -> NDArray[np.float64]:
    """Return the mean of |FFT|, not of its square, over pictures of one size: (height, width).

    Raises CannotDistort if there is no picture, or there are several sizes.
    """
    total, count = np.zeros(()), 0
    for picture in pictures:
        amplitudes = np.abs(np.fft.fft2(grey(picture), norm=filters.NORM))
        if count and amplitudes.shape != total.shape:
            sizes = " and ".join(f"{h} × {w}" for h, w in (total.shape, amplitudes.shape))
            raise CannotDistort(
                f"Amplitudes have a mean over pictures of one size, not of {sizes}."
            )
        total, count = total + amplitudes, count + 1
    if not count:
        raise CannotDistort("The mean of the amplitudes of no pictures does not exist: give some.")
    mean: NDArray[np.float64] = total / count * np.sqrt(total.size)
    return mean


def power_equalisation(plane: Floats, amplitudes: NDArray[np.float64]) -> Floats:
    """Replace the plane's Fourier amplitudes by those of ``mean_amplitudes``, keeping phases."""
    if amplitudes.shape != plane.shape:
        sizes = " and ".join(f"{h} × {w}" for h, w in (amplitudes.shape, plane.shape))
        raise CannotDistort(f"Amplitudes and picture have to be of one size, not of {sizes}.")
    phases = np.exp(1j * np.angle(np.fft.fft2(plane.astype(np.float64))))
    return np.fft.ifft2(amplitudes * phases).real.astype(np.float32)


def rotation(plane: Floats, degrees: int) -> Floats:
    """Rotate counter-clockwise by quarter turns."""
    return np.rot90(plane, degrees // 90)
