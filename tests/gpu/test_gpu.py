"""On a GPU: embedders near those of the processor, and a server with the same answers.

``make test-gpu`` runs it where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import visual_memory
from visual_memory_embedders import Device, Embedder, ImageLimits, build
from visual_memory_index import unit_rows

if TYPE_CHECKING:
    from tests.conftest import Start

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU")


@pytest.fixture(scope="module")
def pictures() -> Sequence[bytes]:
    rng, made = np.random.default_rng(0), []
    for _ in range(70):
        small = rng.integers(256, size=(6, 6, 3), dtype=np.uint8)
        data = BytesIO()
        Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC).save(data, "PNG")
        made.append(data.getvalue())
    return made


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.mark.parametrize(
    ("name", "bound"), [("efficientnet-lite0", 1e-5), ("timm:resnet10t", 1e-3)]
)
def test_vectors_are_near_those_of_the_processor(
    name: str, bound: float, pictures: Sequence[bytes], tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    if name.startswith("timm:"):
        timm = pytest.importorskip("timm")
        file = tmp_path / "w.pth"
        torch.save(timm.create_model("resnet10t").state_dict(), file)
        name = f"{name}@{file}"

    def built(device: Device) -> Embedder:
        limits = ImageLimits()
        return build(name, cache=tmp_path, workers=workers, limits=limits, device=device)

    here, there = built("cpu"), built("cuda")

    assert here.spec.bit_equal
    assert not there.spec.bit_equal
    distances = 1 - (here.embed(pictures) * there.embed(pictures)).sum(axis=1)
    assert distances.max() < bound


def test_a_server_on_a_gpu_answers_as_one_without(
    start: Start, pictures: Sequence[bytes], tmp_path: Path
) -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32))
    ids = [str(number) for number in range(len(vectors))]
    answers = []
    for device in ("cpu", "cuda"):
        server = start(tmp_path / device, "--device", device)
        with visual_memory.connect(server.address) as client:
            memory = client.create_memory("m", dimension=64)
            memory.insert(vectors=vectors, labels=["cat", "dog"] * 10_000, ids=ids)
            memory.delete(ids[::7])
            decisions = memory.classify(vectors=vectors[:200], k=50)
            answers.append([(each.neighbors.ids, each.neighbors.distances) for each in decisions])
            certificate = memory.unlearn(ids[1:2])
            embedded = client.create_memory("pictures")
            embedded.insert(images=pictures, labels=["a"] * len(pictures))
            assert embedded.classify(images=pictures[:3], k=1)[2].label == "a"
            spec = embedded.info().embedder
            assert spec is not None
            assert spec.bit_equal == (device == "cpu")
    np.testing.assert_equal(answers[0], answers[1])
    assert "GPU 0" in str(certificate)
