from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visual_memory_benchmarks.distortions.picture import Picture, framed, grey, shown, unit

LEVELS = np.arange(256, dtype=np.uint8)


def test_grey_weighs_the_colours_as_the_experiments_did() -> None:
    primaries = np.diag([255, 255, 255]).astype(np.uint8)[np.newaxis]
    np.testing.assert_allclose(grey(primaries), [[0.2125, 0.7154, 0.0721]], atol=1e-7)


def test_grey_of_grey_is_the_same_at_every_level() -> None:
    greys = np.repeat(LEVELS[np.newaxis, :, np.newaxis], 3, axis=2)
    np.testing.assert_array_equal(shown(grey(greys)), greys)


@given(arrays(np.uint8, (3, 5, 3)))
def test_what_no_one_distorted_is_shown_as_it_was(picture: Picture) -> None:
    np.testing.assert_array_equal(shown(unit(picture)), picture)


@given(st.floats(0, 1, width=32))
def test_levels_are_truncated_and_not_rounded(value: float) -> None:
    level = int(shown(np.array([[value]], np.float32))[0, 0, 0])
    assert level <= value * 255 + 0.0015
    assert value * 255 < level + 1


def test_what_lies_beyond_black_and_white_is_clipped() -> None:
    assert shown(np.array([[-3.0, 1.7]], np.float32))[0, :, 0].tolist() == [0, 255]


def test_a_plane_is_shown_on_all_three_channels() -> None:
    plane = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    picture = shown(plane)
    assert picture.shape == (3, 4, 3)
    assert (picture == picture[..., :1]).all()


@given(st.integers(32, 400), st.integers(32, 400))
def test_a_frame_is_the_middle_of_any_picture(height: int, width: int) -> None:
    picture = np.full((height, width, 3), 9, np.uint8)
    assert framed(picture).shape == (224, 224, 3)
    assert (framed(picture) == 9).all()


def test_a_frame_leaves_out_16_pixels_on_each_side_of_256() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    np.testing.assert_array_equal(framed(picture), picture[16:240, 16:240])
