"""A network of timm gives what timm's own transform and model give."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

import visual_memory
from visual_memory_embedders import Embedder, ImageLimits, build
from visual_memory_embedders.backends.timm_backend import _preprocessing
from visual_memory_embedders.errors import MissingWeights, UnsupportedNetwork

if TYPE_CHECKING:
    from tests.conftest import Start

# One for each way to cut: centre with crop_pct 0.875, centre with 0.9, squash.
NAMES = ["resnet10t", "vit_tiny_patch16_224", "test_vit"]


def built(name: str, workers: ThreadPoolExecutor) -> Embedder:
    return build(f"timm:{name}", cache=Path("unused"), workers=workers, limits=ImageLimits())


def saved(name: str, path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(timm.create_model(name).state_dict(), path)
    return path


def by_timm(name: str, file: Path, pictures: Sequence[bytes]) -> NDArray[np.float32]:
    model = timm.create_model(name)
    model.load_state_dict(torch.load(file, weights_only=True))
    model.reset_classifier(0)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    images = [transform(Image.open(BytesIO(data)).convert("RGB")) for data in pictures]
    with torch.inference_mode():
        vectors = model.eval()(torch.stack(images))
    unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors).numpy()
    return unit


@pytest.mark.parametrize("name", NAMES)
def test_the_vectors_are_timms(
    name: str, pictures: Sequence[bytes], tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    file = saved(name, tmp_path / "w.pth")

    vectors = built(f"{name}@{file}", workers).embed(pictures)

    np.testing.assert_allclose(vectors, by_timm(name, file, pictures), rtol=0, atol=1e-5)


def test_neither_batch_nor_threads_change_a_bit(
    pictures: Sequence[bytes], tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    file = saved("resnet10t", tmp_path / "w.pth")
    whole = built(f"resnet10t@{file}", workers).embed(pictures)

    with ThreadPoolExecutor(1) as alone:
        embedder = built(f"resnet10t@{file}", alone)
        parts = [embedder.embed([picture]) for picture in pictures]

    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_the_hash_tells_weights_apart(tmp_path: Path, workers: ThreadPoolExecutor) -> None:
    file = saved("resnet10t", tmp_path / "a.pth")
    other = tmp_path / "b.pth"
    state = torch.load(file, weights_only=True)
    state["conv1.0.weight"][0, 0, 0, 0] += 1
    torch.save(state, other)

    hashes = [
        built(f"resnet10t@{path}", workers).spec.weights_sha256 for path in (file, file, other)
    ]

    assert hashes[0] == hashes[1] != hashes[2]


def test_a_missing_file_is_refused(workers: ThreadPoolExecutor) -> None:
    with pytest.raises(MissingWeights, match="put the weights at /nowhere"):
        built("resnet10t@/nowhere", workers)


def test_a_file_that_leaves_weights_to_chance_is_refused(
    tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    state = timm.create_model("resnet10t").state_dict()
    torch.save({"conv1.0.weight": state["conv1.0.weight"]}, tmp_path / "w.pth")

    with pytest.raises(UnsupportedNetwork, match="to chance"):
        built(f"resnet10t@{tmp_path / 'w.pth'}", workers)


def test_what_was_learned_through_it_is_erased_and_certified(
    pictures: Sequence[bytes], tmp_path: Path, start: Start
) -> None:
    name = f"timm:resnet10t@{saved('resnet10t', tmp_path / 'w.pth')}"
    word_of_torch = "_get_custom_class_python_wrapper"
    with visual_memory.connect(start(None, "--allow-embedder", name).address) as client:
        pets = client.create_memory("pets", embedder=name)
        pets.insert(images=pictures[:2], labels=[word_of_torch, "cat"], ids=["gone", "stays"])

        certificate = pets.unlearn(["gone"])

        assert certificate.holds("gone")
        assert client.verify(certificate).trusted


@pytest.mark.parametrize("name", ["resnet10t", "no_such_network"])
def test_what_timm_cannot_load_is_refused_with_its_reason(
    name: str, workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(MissingWeights, match=r"timm says: .+"):
        built(name, workers)


@pytest.mark.parametrize(
    "change", [{"crop_mode": "border"}, {"input_size": (3, 9, 8)}, {"input_size": (1, 8, 8)}]
)
def test_another_transform_is_refused(change: dict[str, object]) -> None:
    config = timm.data.resolve_model_data_config(timm.create_model("resnet10t"))

    with pytest.raises(UnsupportedNetwork, match="as a square or squashed"):
        _preprocessing("timm:resnet10t", {**config, **change})
