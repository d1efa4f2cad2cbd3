"""Images go through the workers in order, few at a time, and the first bad one is named."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from itertools import count

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from visual_memory_embedders import EmbedderSpec, ImageLimits, Preprocessing
from visual_memory_embedders.errors import GpuFailed, UndecodableImage, UnsupportedNetwork
from visual_memory_embedders.images.workers import IN_FLIGHT
from visual_memory_embedders.pipeline import Loaded, Network, NetworkEmbedder, embedder_of

PREPROCESSING = Preprocessing(1, (1, 1), "nearest", (0, 0, 0), (1, 1, 1))
SPEC = EmbedderSpec("fake", "aa", 3, PREPROCESSING, bit_equal=True)


def colour(value: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (2, 2), (255, value, 0)).save(file, "PNG")
    return file.getvalue()


def loaded(network: Network) -> Loaded:
    return Loaded("0" * 64, PREPROCESSING, network, keeps_values=False)


def embedder(network: Network, workers: ThreadPoolExecutor) -> NetworkEmbedder:
    return NetworkEmbedder(SPEC, network, workers, ImageLimits(), keeps_values=False)


def mirror(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    return tensor.reshape(1, 3)


def test_rows_keep_the_order_of_the_images(workers: ThreadPoolExecutor) -> None:
    values = np.random.default_rng(0).integers(0, 256, 3 * IN_FLIGHT)

    vectors = embedder(mirror, workers).embed([colour(value) for value in values])

    assert np.rint(vectors[:, 1] / vectors[:, 0] * 255).tolist() == values.tolist()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_rows_have_unit_length(scale: float, workers: ThreadPoolExecutor) -> None:
    def scaled(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        return mirror(tensor) * np.float32(scale)

    vectors = embedder(scaled, workers).embed([colour(9), colour(99)])

    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(norms, 1, atol=1e-6)


def test_no_images_give_no_rows(workers: ThreadPoolExecutor) -> None:
    assert embedder(mirror, workers).embed([]).shape == (0, 3)


@pytest.mark.parametrize("bad", [[0], [1, 3], [70, 71, 200]])
def test_the_first_bad_image_is_named(bad: Sequence[int], workers: ThreadPoolExecutor) -> None:
    images = [b"garbage" if position in bad else colour(1) for position in range(201)]

    with pytest.raises(UndecodableImage, match=rf"images\[{bad[0]}\] is not") as refusal:
        embedder(mirror, workers).embed(images)

    assert refusal.value.position == bad[0]


def test_after_a_bad_image_nothing_runs_any_more(workers: ThreadPoolExecutor) -> None:
    running, calls = threading.Semaphore(2), count()

    def counting(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        with running:
            next(calls)
            return mirror(tensor)

    with pytest.raises(UndecodableImage):
        embedder(counting, workers).embed([b"garbage", *[colour(1)] * 10_000])

    assert running.acquire(blocking=False)
    assert running.acquire(blocking=False)
    assert next(calls) <= IN_FLIGHT


def test_a_large_batch_leaves_room_for_others() -> None:
    with ThreadPoolExecutor(1) as executor:
        waiting: list[int] = []

        def watching(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
            waiting.append(executor._work_queue.qsize())
            return mirror(tensor)

        embedder(watching, executor).embed([colour(1)] * 500)

    assert max(waiting) < IN_FLIGHT


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_a_direction_is_refused(value: float, workers: ThreadPoolExecutor) -> None:
    def odd(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full((1, 3), value, dtype=np.float32)

    with pytest.raises(UnsupportedNetwork, match=r"image 0 of a message a vector without a"):
        embedder(odd, workers).embed([colour(1)])


@pytest.mark.parametrize("shape", [(1, 5), (1, 5, 1, 1)])
def test_one_run_tells_the_dimension(shape: tuple[int, ...], workers: ThreadPoolExecutor) -> None:
    def network(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ones(shape, np.float32)

    built = embedder_of("fake", loaded(network), workers, ImageLimits())

    assert built.spec.dimension == 5


@pytest.mark.parametrize("shape", [(5,), (2, 5), (1, 5, 7, 7), (1, 0)])
def test_an_output_that_is_no_vector_is_refused(
    shape: tuple[int, ...], workers: ThreadPoolExecutor
) -> None:
    def network(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ones(shape, np.float32)

    with pytest.raises(UnsupportedNetwork, match=r"\(n, d\) or \(n, d, 1, 1\)"):
        embedder_of("fake", loaded(network), workers, ImageLimits())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_that_overflows_is_refused(value: float, workers: ThreadPoolExecutor) -> None:
    def network(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full((1, 3), value, np.float32)

    with pytest.raises(UnsupportedNetwork, match="numbers that are not finite"):
        embedder_of("fake", loaded(network), workers, ImageLimits())


def in_batches(network: Network, workers: ThreadPoolExecutor, at_once: int) -> NetworkEmbedder:
    spec = replace(SPEC, bit_equal=False)
    return NetworkEmbedder(
        spec, network, workers, ImageLimits(), keeps_values=True, at_once=at_once
    )


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_on_a_gpu_some_images_go_at_once_and_rows_keep_their_order(
    at_once: int, workers: ThreadPoolExecutor
) -> None:
    values = np.random.default_rng(0).integers(0, 256, 3 * IN_FLIGHT)
    sizes = []

    def network(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        sizes.append(len(tensor))
        return 5 * tensor.reshape(-1, 3, 1, 1)

    vectors = in_batches(network, workers, at_once).embed([colour(value) for value in values])

    alone = embedder(mirror, workers).embed([colour(value) for value in values])
    np.testing.assert_allclose(vectors, alone, rtol=1e-6)
    assert sum(sizes) == len(values)
    assert max(sizes) == min(at_once, len(values))


def test_of_images_at_once_the_bad_one_is_named(workers: ThreadPoolExecutor) -> None:
    def odd(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors = tensor.reshape(-1, 3).copy()
        vectors[tensor[:, 1, 0, 0] == 0] = np.inf
        return vectors

    embedder = in_batches(odd, workers, 8)
    with pytest.raises(UndecodableImage, match=r"images\[11\] is not"):
        embedder.embed([colour(1) if position != 11 else b"garbage" for position in range(30)])
    with pytest.raises(UnsupportedNetwork, match="gives image 13 of a message"):
        embedder.embed([colour(0 if position == 13 else 1) for position in range(30)])
    assert embedder.embed([]).shape == (0, 3)


def test_a_network_that_takes_images_at_once_does_not_promise_equal_bits(
    workers: ThreadPoolExecutor,
) -> None:
    def several(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        return tensor.reshape(-1, 3)

    on_gpu = Loaded("0" * 64, PREPROCESSING, several, keeps_values=True, at_once=4)

    built = embedder_of("fake", on_gpu, workers, ImageLimits())
    assert built.at_once == 4
    assert not built.spec.bit_equal
    assert embedder_of("fake", loaded(mirror), workers, ImageLimits()).spec.bit_equal


@pytest.mark.parametrize(
    "network",
    [
        lambda tensor: tensor.reshape(-1, 3)[:1],  # of the first image alone
        lambda tensor: tensor.mean(axis=0).reshape(1, 3),
        lambda tensor: tensor.reshape(-1, 3)[::-1],
        lambda tensor: tensor.reshape(1, 3),  # raises
        lambda tensor: tensor.reshape(-1, 3) - tensor.mean(axis=0).reshape(3),
    ],
)
def test_a_network_that_confuses_images_gets_one_at_a_time(
    network: Network, workers: ThreadPoolExecutor
) -> None:
    on_gpu = Loaded("0" * 64, PREPROCESSING, network, keeps_values=True, at_once=4)

    built = embedder_of("fake", on_gpu, workers, ImageLimits())

    assert built.at_once == 1
    assert not built.spec.bit_equal


def test_what_fails_on_the_gpu_is_told(workers: ThreadPoolExecutor) -> None:
    def fail(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        raise RuntimeError("CUDA error: out of memory.\nCompile with this or that")

    with pytest.raises(
        GpuFailed, match=r"^'fake' failed on the GPU \(CUDA error: out of memory\): "
    ):
        in_batches(fail, workers, 8).embed([colour(1)])
    with pytest.raises(UnsupportedNetwork, match="it makes 1 vectors of 3 images"):
        in_batches(mirror_first, workers, 8).embed([colour(1)] * 3)


def mirror_first(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    return tensor[:1].reshape(1, 3)
