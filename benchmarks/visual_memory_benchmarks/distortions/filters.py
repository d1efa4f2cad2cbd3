"""Filters that several distortions share, on planes h × w or images h × w × 3 of float32.

None of them multiplies matrices: how a BLAS rounds depends on its threads, and pixels must not.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visual_memory_benchmarks.distortions.picture import Floats

Border: TypeAlias = Literal["constant", "edge", "reflect", "symmetric"]  # as ``numpy.pad`` has them
Complexes: TypeAlias = NDArray[np.complexfloating[Any, Any]]  # of 2 × 32 bits

# With any other norm NumPy 2.4 scales by the integer 1 on one of the two ways, and then
# transforms float32 as float64: five times slower.
NORM: Literal["ortho"] = "ortho"


def gaussian(image: Floats, sigma: float, border: Border, truncate: float = 4.0) -> Floats:
    """Apply a Gaussian filter, cut off at ``truncate`` sigmas; ``border`` is a mode of np.pad."""
    weights = gaussian_weights(sigma, truncate)
    return convolve(image, np.outer(weights, weights), border)


def gaussian_weights(sigma: float, truncate: float = 4.0) -> Floats:
    """Return the weights of a Gaussian filter along one axis; their sum is 1."""
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    return weights.astype(np.float32)


def convolve(image: Floats, kernel: Floats, border: Border) -> Floats:
    """Convolve with a kernel of odd sides, by FFT; ``border`` is a mode of np.pad."""
    down, across = kernel.shape[0] // 2, kernel.shape[1] // 2
    margins = [(down, down), (across, across), (0, 0)][: image.ndim]
    padded = np.pad(image, margins, mode=border)
    sides = [-(-side // 32) * 32 for side in padded.shape[:2]]  # faster than most others
    transfer = np.fft.rfft2(kernel, s=sides, norm=NORM) * np.float32(np.sqrt(np.prod(sides)))
    if image.ndim == 3:
        transfer = transfer[..., np.newaxis]
    spectrum = np.fft.rfft2(padded, s=sides, axes=(0, 1), norm=NORM)
    result = np.fft.irfft2(spectrum * transfer, s=sides, axes=(0, 1), norm=NORM)
    return result[2 * down : padded.shape[0], 2 * across : padded.shape[1]]


def motion_kernel(radius: int, sigma: float, degrees: float) -> Floats:
    """Return the kernel of a one-sided streak from the centre, at an angle of ``degrees``.

    It has 2 · ``radius`` + 1 steps of a pixel, which fade as a Gaussian of ``sigma``.
    """
    reach = 2 * radius
    steps = np.arange(reach + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    angle = np.deg2rad(degrees)
    rows = reach - np.ceil(steps * np.sin(angle) - 0.5).astype(int)
    columns = reach - np.ceil(steps * np.cos(angle) - 0.5).astype(int)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    np.add.at(kernel, (rows, columns), weights / weights.sum())
    return kernel.astype(np.float32)


def sample(image: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return the image's values at fractional places: bilinear, mirrored beyond the border."""
    (top, down), (left, across) = (
        _between(rows, image.shape[0]),
        _between(columns, image.shape[1]),
    )
    upper = image[top, left] * (1 - across) + image[top, left + 1] * across
    lower = image[top + 1, left] * (1 - across) + image[top + 1, left + 1] * across
    return upper * (1 - down) + lower * down


def _between(places: Floats, length: int) -> tuple[NDArray[np.intp], Floats]:
    """Return the pixel before each fractional place, and the place's distance from it (…, 1).

    Places beyond an axis of ``length`` pixels are mirrored into it.
    """
    mirrored = np.abs(places + 0.5) - 0.5
    mirrored = length - 0.5 - np.abs(length - 0.5 - mirrored)
    inside = np.clip(mirrored, 0, length - 1)
    before = np.minimum(inside.astype(np.intp), length - 2)
    return before, (inside - before).astype(np.float32)[..., np.newaxis]


def zoomed(image: Floats, factor: float) -> Floats:
    """Enlarge the image's centre by ``factor``, bilinear, and cut it to the image's size."""
    for axis, length in enumerate(image.shape[:2]):
        part = math.ceil(length / factor)
        enlarged = round(part * factor)
        places = np.arange(length) + (enlarged - length) // 2
        # The first and the last pixel of the part keep their values.
        scaled = (length - part) // 2 + places * ((part - 1) / (enlarged - 1))
        before, behind = _between(scaled.astype(np.float32), length)
        behind = behind if axis else behind[..., np.newaxis]
        image = image.take(before, axis) * (1 - behind) + image.take(before + 1, axis) * behind
    return image


def normals(rng: np.random.Generator, shape: tuple[int, ...], out: Floats | None = None) -> Floats:
    """Draw standard normal numbers by Box and Muller; ``out``, if given, must have an even size.

    On whole arrays of float32 this is several times faster than NumPy's generator.
    """
    size = math.prod(shape)
    halves = (2, -(-size // 2))
    drawn = rng.random(halves, np.float32, None if out is None else out.reshape(halves))
    radius, angle = drawn
    np.log1p(np.negative(radius, out=radius), out=radius)
    np.sqrt(np.multiply(radius, np.float32(-2), out=radius), out=radius)
    angle *= np.float32(2 * np.pi)
    sines = np.sin(angle)
    sines *= radius
    np.cos(angle, out=angle)
    angle *= radius
    radius[:] = sines
    return drawn.reshape(-1)[:size].reshape(shape)
