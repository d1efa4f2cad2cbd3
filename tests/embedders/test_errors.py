"""Every refusal is one sentence with the value and the remedy."""

from dataclasses import replace
from pathlib import Path

import pytest

from visual_memory_embedders import EmbedderSpec, Preprocessing
from visual_memory_embedders.errors import (
    EmbeddingRefusal,
    GpuFailed,
    MissingExtra,
    MissingWeights,
    NoGpu,
    UndecodableImage,
    UnknownEmbedder,
    UnsupportedNetwork,
    WrongEmbedder,
    WrongWeights,
)

PREPROCESSING = Preprocessing(8, (8, 8), "bicubic", (0, 0, 0), (1, 1, 1))
SPEC = EmbedderSpec("lite", "aa", 4, PREPROCESSING, bit_equal=True)
REFUSALS = [
    (UnknownEmbedder("resnet", ["lite0", "lite1"]), ["'resnet'", "lite0, lite1"]),
    (UndecodableImage(3, "is empty"), ["images[3] is empty."]),
    (WrongEmbedder(SPEC, replace(SPEC, weights_sha256="bb")), ["'lite'", "stored aa, built bb"]),
    (WrongEmbedder(SPEC, replace(SPEC, bit_equal=False)), ["vectors made on a GPU"]),
    (GpuFailed("lite", "it is full"), ["'lite'", "(it is full)", "restart"]),
    (NoGpu("lite", "none is there"), ["'lite'", "(none is there)", "the extra gpu"]),
    (MissingWeights("lite", "no file", "pip install lite"), ["no file", "pip install lite"]),
    (WrongWeights(Path("w.pth"), wanted="aa", got="bb", remedy="delete it"), ["aa", "bb"]),
    (MissingExtra("timm:a", module="torch", extra="timm"), ["pip install -e '.[timm]'"]),
    (UnsupportedNetwork("onnx:a", "it has no input"), ["'onnx:a'", "it has no input"]),
]


@pytest.mark.parametrize(("refusal", "parts"), REFUSALS, ids=lambda value: type(value).__name__)
def test_a_refusal_says_what_and_what_to_do(refusal: EmbeddingRefusal, parts: list[str]) -> None:
    message = str(refusal)

    assert message.endswith(".")
    assert [part for part in parts if part not in message] == []


def test_every_refusal_is_tested_here() -> None:
    assert {type(refusal) for refusal, _ in REFUSALS} == set(EmbeddingRefusal.__subclasses__())


def test_a_wrong_embedder_keeps_silent_about_what_agrees() -> None:
    refusal = WrongEmbedder(SPEC, replace(SPEC, dimension=5))

    assert "dimension" in str(refusal)
    assert "preprocessing" not in str(refusal)
