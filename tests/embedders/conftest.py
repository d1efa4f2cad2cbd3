"""Fixtures of the embedders' tests; those of PyTorch are collected where it is installed."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from visual_memory_embedders import Embedder, ImageLimits, build

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
NEEDS = {
    "backends/test_timm_backend.py": ("torch", "timm"),
    "backends/test_open_clip_backend.py": ("torch", "open_clip"),
    "backends/test_torch_network.py": ("torch",),
}
collect_ignore = [file for file, modules in NEEDS.items() if not all(map(find_spec, modules))]
if collect_ignore and os.environ.get("CI") == "true":
    raise pytest.UsageError(
        f"In CI {' and '.join(collect_ignore)} must run: "
        "pip install -e '.[timm,open-clip]' before the tests."
    )


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the private test data are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def pictures(shared: Path) -> Sequence[bytes]:
    """Sixteen photographs, one of each category."""
    folders = sorted((shared / "data" / "natural16").iterdir())
    return [min(folder.iterdir()).read_bytes() for folder in folders if folder.is_dir()]


@pytest.fixture(scope="session")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def lite0(cache: Path, workers: ThreadPoolExecutor) -> Embedder:
    return build("efficientnet-lite0", cache=cache, workers=workers, limits=ImageLimits())
