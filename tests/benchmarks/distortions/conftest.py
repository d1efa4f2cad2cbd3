"""Pictures to distort: generated ones, and photographs if available."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.benchmarks.distortions.made import walked
from tests.conftest import SHARED

from visual_memory_benchmarks.distortions.bank import Bank
from visual_memory_benchmarks.distortions.distortion import Materials
from visual_memory_benchmarks.distortions.geirhos import mean_amplitudes
from visual_memory_benchmarks.distortions.picture import Picture, framed


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.fixture(scope="session")
def clean() -> Picture:
    return walked(0)


@pytest.fixture(scope="session")
def bank() -> Bank:
    """Return a bank of 40 pictures of two colours each."""
    colours = np.random.default_rng(2).integers(0, 256, (40, 2, 1, 1, 3), np.uint8)
    return Bank(np.repeat(np.repeat(pair, 60, 1), 90, 2).reshape(120, 90, 3) for pair in colours)


@pytest.fixture(scope="session")
def materials(bank: Bank, clean: Picture) -> Materials:
    return Materials(bank, mean_amplitudes([clean, walked(1), walked(2)]))


@pytest.fixture(scope="session")
def photographs() -> list[Picture]:
    """Return the first two photographs of each category of natural16."""
    folder = SHARED / "data/natural16"
    if not folder.is_dir():
        pytest.skip(f"Needs the photographs of natural16, which are not in {folder}.")
    paths = sorted(folder.glob("*/*_00[12].jpg"))
    assert len(paths) == 32
    pictures = []
    for path in paths:
        with Image.open(path) as image:
            pictures.append(framed(np.array(image.convert("RGB"))))
    return pictures
