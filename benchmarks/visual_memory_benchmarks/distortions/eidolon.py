"""Eidolons: pictures cut into slices of scale, each moved about ("partially coherent disarray").

The displacement of a slice is a mix of its own noise, of one grain, and of noise that it shares
with the coarser slices. The mix follows the corrected formula, by which the stimuli of the
experiments were made. An error of the toolbox that the stimuli contain is kept: from each noise
plane its mean *divided by* its standard deviation is subtracted.

For one picture 24 planes of 512 × 512 normal numbers are drawn and transformed, 48 for eidolon II:
no other distortion takes as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visual_memory_benchmarks.distortions import filters
from visual_memory_benchmarks.distortions.filters import NORM, Complexes
from visual_memory_benchmarks.distortions.picture import Floats, Picture, grey, shown

SIDE, PLANE = 256, 512  # of the picture; of the plane that holds it and its mirror images
_MARGIN = (PLANE - SIDE) // 2
SIGMA_MAX = SIDE / 4
SIGMAS = tuple(2 ** ((k - 1) / 2) for k in range(int(np.ceil(2 * np.log2(SIGMA_MAX)))))
NOISE_MAX = 127.5


@dataclass(frozen=True, slots=True)
class Disarray:
    """Parameters of the displacements of slices.

    ``reach`` scales the displacements, ``coherence`` is the share of noise that a slice has in
    common with coarser ones, ``grain`` is the sigma in pixels of the rest, its own noise.
    """

    reach: float
    coherence: float
    grain: float = 10.0


def eidolon(picture: Picture, disarray: Disarray, rng: np.random.Generator) -> Picture:
    """Return the picture in grey, displaced scale by scale at 256 × 256 and scaled back."""
    height, width = picture.shape[:2]
    image = Image.fromarray(shown(grey(picture))[..., 0]).resize(
        (SIDE, SIDE), Image.Resampling.LANCZOS
    )
    layers = slices(embedded(np.asarray(image, np.float32)))
    down, across = displacements(disarray, rng), displacements(disarray, rng)
    own = np.arange(_MARGIN, _MARGIN + SIDE, dtype=np.float32)
    reach = np.float32(disarray.reach)
    total = np.zeros((SIDE, SIDE), np.float32)
    for layer, rows, columns in zip(layers, down, across, strict=True):
        pixels = _index(own[:, np.newaxis] + reach * rows) * PLANE
        pixels += _index(own + reach * columns)
        total += layer.ravel()[pixels]
    moved = Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))
    if moved.size != (width, height):
        moved = moved.resize((width, height), Image.Resampling.LANCZOS)
    return np.repeat(np.asarray(moved)[..., np.newaxis], 3, axis=2)


def embedded(plane: Floats) -> Floats:
    """Place 256 × 256 in the middle of 512 × 512, with mirror images around it."""
    return np.pad(plane, _MARGIN, mode="symmetric")


def slices(plane: Floats) -> Iterator[Floats]:
    """Yield the difference of each blur of the plane to the next coarser blur, coarsest first.

    Blurs are by SIGMAS. The differences sum to the plane blurred by the smallest sigma.
    """
    spectrum = np.fft.rfft2(plane, norm=NORM)
    coarser = np.zeros_like(plane)
    for sigma in reversed(SIGMAS):
        transfer = _transfer(sigma)
        blurred = _plane(spectrum[:, : transfer.shape[1]] * transfer)
        yield blurred - coarser
        coarser = blurred


def displacements(disarray: Disarray, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield the displacements of each slice along one axis, coarsest slice first: 256 × 256.

    They are for a reach of 1, to be multiplied by the reach.
    """
    coherence = np.float32(disarray.coherence)
    shared = np.zeros((PLANE, PLANE // 2 + 1), np.complex64)
    noise = Noise(rng)
    for sigma in reversed(SIGMAS):
        if coherence > 0:
            coarse = noise.spectrum(sigma)
            shared[:, : coarse.shape[1]] += coherence * np.float32(sigma / SIGMA_MAX) * coarse
        mixed = shared[:, : _transfer(sigma).shape[1]]  # later columns are still 0
        if coherence < 1:
            own = noise.spectrum(disarray.grain)
            mixed = shared[:, : max(own.shape[1], mixed.shape[1])].copy()
            mixed[:, : own.shape[1]] += (1 - coherence) * own
        yield _plane(mixed, slice(_MARGIN, _MARGIN + SIDE))


class Noise:
    """Blurred noise planes, made in reused memory: allocation costs as much as the numbers."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._plane = np.empty((PLANE, PLANE), np.float32)
        self._rows = np.empty((PLANE, PLANE // 2 + 1), np.complex64)

    def spectrum(self, sigma: float) -> Complexes:
        """Return the half spectrum of a new plane of noise, blurred by ``sigma``.

        As in the toolbox, its mean divided by its standard deviation is subtracted. The last
        columns, near 0, are left out.
        """
        plane = filters.normals(self._rng, self._plane.shape, self._plane)
        plane *= np.float32(NOISE_MAX) / max(plane.max(), -plane.min())
        np.clip(plane, -127, 127, out=plane)
        np.fft.rfft(plane, axis=1, norm=NORM, out=self._rows)  # type: ignore[arg-type]  # float32
        transfer = _transfer(sigma)
        spectrum = np.fft.fft(self._rows[:, : transfer.shape[1]], axis=0, norm=NORM)
        spectrum *= transfer
        mean = float(spectrum[0, 0].real) / PLANE
        power = spectrum.real**2 + spectrum.imag**2
        # Half of the spectrum stands for all of it, but for its first and its middle column.
        total = 2 * power.sum() - power[:, 0].sum() - power[:, PLANE // 2 :].sum()
        deviation = np.sqrt(float(total) / PLANE**2 - mean**2)
        spectrum[0, 0] -= mean / deviation * PLANE  # the slip: not (plane − mean) / deviation
        return spectrum


def _plane(spectrum: Complexes, part: slice = slice(None)) -> Floats:
    """Return the real plane of a half spectrum by the inverse FFT.

    The spectrum's missing last columns are taken as 0. ``part`` selects the rows, and the same
    columns, of the plane to return.
    """
    rows = np.fft.ifft(spectrum, axis=0, norm=NORM)[part]
    plane: Floats = np.fft.irfft(rows, PLANE, axis=1, norm=NORM)[:, part]
    return plane


@lru_cache(maxsize=len(SIGMAS) + 1)
def _transfer(sigma: float) -> Floats:
    """Return the transfer function of a circular Gaussian blur for a half spectrum.

    Last columns are left out where it is below float32's epsilon.
    """
    kept = np.exp(-2 * (np.pi * sigma * np.fft.fftfreq(PLANE)) ** 2)
    across = kept[: PLANE // 2 + 1]
    return np.outer(kept, across[across > np.finfo(np.float32).eps]).astype(np.float32)


def _index(places: Floats) -> NDArray[np.intp]:
    return np.clip(places, 0, PLANE - 1).astype(np.intp)
