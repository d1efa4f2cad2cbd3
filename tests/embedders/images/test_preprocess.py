"""The tensor is the one that torchvision's evaluation transforms would give."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from visual_memory_embedders import Preprocessing
from visual_memory_embedders.images.preprocess import preprocess

PREPROCESSING = Preprocessing(
    resize=20, crop=(14, 14), interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)
)
PLAIN = replace(PREPROCESSING, mean=(0, 0, 0), std=(1, 1, 1))


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(31, 57), (57, 31), (20, 20), (9, 13)])
def test_the_centre_of_the_resized_image_is_normalised(size: tuple[int, int]) -> None:
    image = noise(*size)
    width, height = (int(20 * side / min(size)) for side in size)
    left, top = round((width - 14) / 2), round((height - 14) / 2)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    centre = pixels[top : top + 14, left : left + 14] / 255

    tensor = preprocess(image, PREPROCESSING)

    expected = ((centre - PREPROCESSING.mean) / PREPROCESSING.std).transpose(2, 0, 1)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor, expected, atol=1e-6)


def test_two_sides_squash() -> None:
    image = noise(31, 57)
    squashed = np.asarray(image.resize((12, 10), Image.Resampling.BICUBIC), np.float32)

    tensor = preprocess(image, replace(PLAIN, resize=(10, 12), crop=(10, 12)))

    np.testing.assert_array_equal(tensor, squashed.transpose(2, 0, 1) / np.float32(255))


def test_a_crop_beyond_the_image_is_black() -> None:
    white = Image.new("RGB", (20, 20), "white")

    tensor = preprocess(white, replace(PLAIN, crop=(23, 14)))

    assert tensor.shape == (3, 23, 14)
    assert tensor[0].any(axis=1).tolist() == [False] + [True] * 20 + [False] * 2


@pytest.mark.parametrize("size", [(1, 60_001), (60_001, 1), (3, 4_000)])
def test_a_sliver_shows_its_middle_and_takes_little_memory(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size)
    image.putpixel((size[0] // 2, size[1] // 2), (255, 255, 255))

    tensor = preprocess(image, PLAIN)

    assert tensor.shape == (3, 14, 14)
    assert tensor[1].max() > 0.9


def test_a_long_image_is_cut_where_it_would_be_cut_anyway() -> None:
    image = noise(10, 401)
    whole = np.asarray(image.resize((20, 802), Image.Resampling.BICUBIC), np.float32)

    tensor = preprocess(image, PLAIN)

    expected = whole[394:408, 3:17].transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_allclose(tensor, expected, atol=1.01 / 255)


@pytest.mark.parametrize("size", [(1, 1_000_000), (1_000_000, 1)])
def test_a_sliver_is_squashed_with_little_memory(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "red")
    image.paste("blue", (0, 0, (size[0] + 1) // 2, (size[1] + 1) // 2))

    tensor = preprocess(image, replace(PLAIN, resize=(14, 14)))

    ends = tensor[:, [0, -1], [0, -1]].T
    np.testing.assert_array_equal(ends, [[0, 0, 1], [1, 0, 0]])
