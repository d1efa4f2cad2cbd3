"""Preprocessing: an RGB image to the tensor that a network was trained on."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visual_memory_embedders.spec import Preprocessing

SLIVER = 16  # a longer image loses its ends before it is resized, or it could fill the RAM
SIDE_MAX = 65_535  # of a JPEG; beyond it Pillow's filter alone would take 32 bytes a pixel


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Convert RGB to float32 (3, height, width), with the numbers of torchvision's transforms."""
    resized = _resize(image, preprocessing)
    cropped = resized.crop(_centre(resized.size, preprocessing.crop))
    tensor = np.asarray(cropped).transpose(2, 0, 1).astype(np.float32, order="C")
    tensor /= np.float32(255)
    tensor -= np.array(preprocessing.mean, dtype=np.float32).reshape(3, 1, 1)
    tensor /= np.array(preprocessing.std, dtype=np.float32).reshape(3, 1, 1)
    return tensor


def _resize(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    resampling = Image.Resampling[preprocessing.interpolation.upper()]
    if isinstance(preprocessing.resize, tuple):
        height, width = preprocessing.resize
        if max(image.size) > SIDE_MAX:
            image = image.reduce((1 + image.width // SIDE_MAX, 1 + image.height // SIDE_MAX))
        return image.resize((width, height), resampling)
    ratio = SLIVER * max(1, *(side / preprocessing.resize for side in preprocessing.crop))
    image = _without_ends(image, ratio)
    short, long = sorted(image.size)
    long = int(preprocessing.resize * long / short)
    upright = image.width <= image.height
    size = (preprocessing.resize, long) if upright else (long, preprocessing.resize)
    return image.resize(size, resampling)


def _without_ends(image: Image.Image, ratio: float) -> Image.Image:
    """Crop a long image to its middle, its long side then at most ``ratio`` times the short one."""
    short, long = sorted(image.size)
    excess = long - int(short * ratio)
    if excess <= 0:
        return image
    kept = long - excess - excess % 2  # an even number goes, so that the centre stays
    width, height = (min(side, kept) for side in image.size)
    return image.crop(_centre(image.size, (height, width)))


def _centre(size: tuple[int, int], crop: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return Pillow's crop box around the centre; a box larger than the image extends beyond it."""
    left, top = (_offset(side, kept) for side, kept in zip(size, reversed(crop), strict=True))
    height, width = crop
    return left, top, left + width, top + height


def _offset(side: int, kept: int) -> int:
    return round((side - kept) / 2) if side >= kept else -((kept - side) // 2)
