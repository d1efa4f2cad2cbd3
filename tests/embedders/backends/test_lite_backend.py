"""The built-in embedders agree with PyTorch, to the bit with themselves."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from visual_memory_embedders import BUILT_IN, Embedder, ImageLimits, build
from visual_memory_embedders.backends.lite_backend import load
from visual_memory_embedders.errors import MissingWeights, WrongWeights
from visual_memory_embedders.registry import LITE_NETWORKS

LITE0 = LITE_NETWORKS["efficientnet-lite0"]


def test_the_reference_embeddings_are_met(lite0: Embedder, shared: Path) -> None:
    reference = np.load(shared / "data" / "reference_embeddings_lite0.npz")
    images = [(shared / "data" / "natural16" / file).read_bytes() for file in reference["files"]]

    vectors = lite0.embed(images)

    np.testing.assert_allclose(vectors, reference["embeddings"], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def whole(lite0: Embedder, pictures: Sequence[bytes]) -> bytes:
    """The vectors of all pictures, embedded at once."""
    return lite0.embed(pictures).tobytes()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 7, 16])
def test_neither_batch_nor_threads_change_a_bit(
    batch: int, threads: int, whole: bytes, pictures: Sequence[bytes], cache: Path
) -> None:
    with ThreadPoolExecutor(threads) as workers:
        same = build("efficientnet-lite0", cache=cache, workers=workers, limits=ImageLimits())

        parts = [same.embed(pictures[i : i + batch]) for i in range(0, len(pictures), batch)]

    assert np.concatenate(parts).tobytes() == whole


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_built_in_embedder_gives_what_its_spec_says(
    name: str, pictures: Sequence[bytes], cache: Path, workers: ThreadPoolExecutor
) -> None:
    embedder = build(name, cache=cache, workers=workers, limits=ImageLimits())

    vectors = embedder.embed(pictures[:2])

    assert embedder.spec.name == name
    assert embedder.spec.bit_equal
    assert vectors.shape == (2, embedder.spec.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(float), axis=1), 1, atol=1e-6)


def test_a_damaged_graph_is_written_anew(
    tmp_path: Path, workers: ThreadPoolExecutor, lite0: Embedder, pictures: Sequence[bytes]
) -> None:
    build(lite0.spec.name, cache=tmp_path, workers=workers, limits=ImageLimits())
    (graph,) = tmp_path.glob("*.onnx")
    whole = graph.read_bytes()
    graph.write_bytes(whole[: len(whole) // 2])

    again = build(lite0.spec.name, cache=tmp_path, workers=workers, limits=ImageLimits())

    assert graph.read_bytes() == whole
    assert again.embed(pictures[:1]).tobytes() == lite0.embed(pictures[:1]).tobytes()


def test_missing_and_wrong_weights_are_refused(tmp_path: Path) -> None:
    wrong = replace(LITE0, weights_sha256=LITE0.weights_sha256[:8] + "0" * 56)

    with pytest.raises(MissingWeights):
        load("ours", LITE0, tmp_path)
    with pytest.raises(WrongWeights):
        load("efficientnet-lite0", wrong, tmp_path)
