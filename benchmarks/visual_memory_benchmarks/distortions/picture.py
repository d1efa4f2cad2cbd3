"""Pictures: h × w × 3 of uint8 outside, floats in [0, 1] inside distortions.

The papers define the distortions on floats and store the results as uint8, as is done here.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture: TypeAlias = NDArray[np.uint8]  # h × w × 3
Floats: TypeAlias = NDArray[np.floating[Any]]  # of 32 bits: h × w of grey, or h × w × 3

SIDE, SHORTER_SIDE, SIDE_MIN = 224, 256, 32
RED, GREEN, BLUE = np.array([0.2125, 0.7154, 0.0721], np.float32)  # their shares in luminance
_SLACK = np.float32(2**-10)  # of a level: reaches a level that only rounding missed


def unit(picture: Picture) -> Floats:
    """Convert a picture to float32 in [0, 1]."""
    return picture / np.float32(255)


def grey(picture: Picture) -> Floats:
    """Return the luminance in [0, 1], h × w."""
    image = unit(picture)
    plane: Floats = RED * image[..., 0] + GREEN * image[..., 1] + BLUE * image[..., 2]
    return plane


def shown(image: Floats) -> Picture:
    """Convert floats to a picture; a grey plane fills all three channels.

    Values are clipped to [0, 1], and truncated to uint8 as published, not rounded.
    """
    levels = (np.clip(image, 0, 1) * np.float32(255) + _SLACK).astype(np.uint8)
    return levels if levels.ndim == 3 else np.repeat(levels[..., np.newaxis], 3, axis=2)


def framed(picture: Picture) -> Picture:
    """Scale the shorter side to 256, crop the central 224 × 224: what people and networks saw."""
    image = scaled(picture)
    height, width = image.shape[:2]
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return image[top : top + SIDE, left : left + SIDE].copy()


def scaled(picture: Picture) -> Picture:
    """Scale the shorter side to 256, so that pixel units mean the same in every picture."""
    height, width = picture.shape[:2]
    scale = SHORTER_SIDE / min(height, width)
    image = Image.fromarray(picture).resize(
        (round(width * scale), round(height * scale)), Image.Resampling.BICUBIC
    )
    return np.array(image)
