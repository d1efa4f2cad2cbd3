"""Networks that keep values of pictures are dropped with all they hold, and built anew."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from visual_memory_service.config import Settings
from visual_memory_service.runtime.embedders import Embedders

NAME = "efficientnet-lite0"
SMALL, LARGE = 2e6, 10e6  # bytes


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(256, size=(40, 40, 3), dtype=np.uint8)
    data = BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def test_what_a_network_keeps_of_pictures_goes_with_it(
    tmp_path: Path, in_use: Callable[[], int]
) -> None:
    pictures = [picture(seed) for seed in range(8)]
    with closing(Embedders(Settings(tmp_path, threads=2))) as embedders:
        before_all = embedders.get(NAME).embed(pictures)
        embedders.drop_values()
        idle = in_use()
        again = embedders.get(NAME).embed(pictures)
        busy = in_use()

        embedders.drop_values()
        left = in_use()

    assert busy - idle > LARGE
    assert left - idle < SMALL
    np.testing.assert_array_equal(before_all, again)


def test_embedders_that_keep_nothing_stay(tmp_path: Path) -> None:
    with closing(Embedders(Settings(tmp_path))) as embedders:
        embedder = embedders.get(NAME)
        object.__setattr__(embedder, "keeps_values", False)

        embedders.drop_values()

        assert embedders.get(NAME) is embedder
