"""An open_clip network gives what open_clip's own transform and model give."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from visual_memory_embedders import Embedder, ImageLimits, build
from visual_memory_embedders.backends.open_clip_backend import _preprocessing
from visual_memory_embedders.errors import MissingWeights, UnsupportedNetwork

NAME = "ViT-S-32-alt"  # the smallest that open_clip has


def built(name: str, workers: ThreadPoolExecutor) -> Embedder:
    return build(f"open-clip:{name}", cache=Path("unused"), workers=workers, limits=ImageLimits())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("open_clip") / "w.pt"
    torch.manual_seed(0)
    torch.save(open_clip.create_model(NAME).state_dict(), file)
    return file


def test_the_vectors_are_open_clips(
    file: Path, pictures: Sequence[bytes], workers: ThreadPoolExecutor
) -> None:
    vectors = built(f"{NAME}/{file}", workers).embed(pictures)

    np.testing.assert_allclose(vectors, by_open_clip(file, pictures), rtol=0, atol=1e-5)


def by_open_clip(file: Path, pictures: Sequence[bytes]) -> NDArray[np.float32]:
    model, _, transform = open_clip.create_model_and_transforms(NAME, pretrained=str(file))
    images = [transform(Image.open(BytesIO(data)).convert("RGB")) for data in pictures]
    with torch.inference_mode():
        vectors = model.eval().encode_image(torch.stack(images), normalize=True)
    unit: NDArray[np.float32] = vectors.numpy()
    return unit


def test_the_hash_stays(file: Path, workers: ThreadPoolExecutor) -> None:
    specs = [built(f"{NAME}/{file}", workers).spec for _ in range(2)]

    assert specs[0] == specs[1]


@pytest.mark.parametrize("name", [f"{NAME}/no-such-tag", "ViT-B-32/openai", "no-net/openai", NAME])
def test_what_open_clip_cannot_load_is_refused_with_its_reason(
    name: str, workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(MissingWeights, match=r"open_clip says: .+"):
        built(name, workers)


def test_a_file_that_lacks_weights_is_refused(tmp_path: Path, workers: ThreadPoolExecutor) -> None:
    torch.save({"logit_scale": torch.tensor(1.0)}, tmp_path / "w.pt")

    with pytest.raises(MissingWeights, match="open_clip says: "):
        built(f"{NAME}/{tmp_path / 'w.pt'}", workers)


@pytest.mark.parametrize(
    ("change", "resize"), [({}, 8), ({"resize_mode": "squash"}, (8, 8)), ({"size": (8, 8)}, 8)]
)
def test_both_usual_transforms_are_read(change: dict[str, object], resize: object) -> None:
    config = {**open_clip.transform.PreprocessCfg(size=8).__dict__, **change}

    assert _preprocessing("open-clip:a/b", config).resize == resize


@pytest.mark.parametrize("change", [{"resize_mode": "longest"}, {"size": (8, 9)}])
def test_another_transform_is_refused(change: dict[str, object]) -> None:
    config = {**open_clip.transform.PreprocessCfg(size=8).__dict__, **change}

    with pytest.raises(UnsupportedNetwork, match="as a square or squashed"):
        _preprocessing("open-clip:a/b", config)
