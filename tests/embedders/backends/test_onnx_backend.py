"""A user's own ONNX network runs as its JSON file says, or a sentence says what is wanted."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from PIL import Image

from visual_memory_embedders import Embedder, ImageLimits, build
from visual_memory_embedders.errors import MissingWeights, UnsupportedNetwork

PREPROCESSING = {
    "resize": [4, 4],
    "crop": [4, 4],
    "interpolation": "bilinear",
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
}
POOL = [helper.make_node("GlobalAveragePool", ["image"], ["vector"])]


def model(
    nodes: Sequence[onnx.NodeProto] = POOL,
    *,
    dtype: int = TensorProto.FLOAT,
    image: Sequence[int | str] = ("n", 3, 4, 4),
    vector: Sequence[int | str] = ("n", 3, 1, 1),
    constants: Sequence[onnx.TensorProto] = (),
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", dtype, image)],
        [helper.make_tensor_value_info("vector", dtype, vector)],
        constants,
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(model())
    path.with_suffix(".json").write_text(json.dumps(PREPROCESSING))
    return path


def built(path: Path, workers: ThreadPoolExecutor) -> Embedder:
    return build(f"onnx:{path}", cache=path.parent, workers=workers, limits=ImageLimits())


def red() -> bytes:
    file = BytesIO()
    Image.new("RGB", (9, 9), (255, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("side", [4, "height"])
@pytest.mark.parametrize("n", [1, "n"])
def test_a_tiny_network_runs(
    path: Path, workers: ThreadPoolExecutor, n: int | str, side: int | str
) -> None:
    path.write_bytes(model(image=(n, 3, side, side), vector=(n, 3, 1, 1)))

    vectors = built(path, workers).embed([red(), red()])

    np.testing.assert_allclose(vectors, [[1, 0, 0]] * 2, atol=1e-6)


def test_the_spec_says_what_was_read(path: Path, workers: ThreadPoolExecutor) -> None:
    spec = built(path, workers).spec

    assert spec.name == f"onnx:{path}"
    assert spec.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (spec.dimension, spec.preprocessing.crop) == (3, (4, 4))


def test_a_missing_network_is_refused(path: Path, workers: ThreadPoolExecutor) -> None:
    path.unlink()

    with pytest.raises(MissingWeights, match=r"put the ONNX file at .*tiny\.onnx\."):
        built(path, workers)


@pytest.mark.parametrize("suffix", [".onnx", ".json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "large file"])
def test_what_cannot_be_read_to_its_end_is_refused(
    path: Path, workers: ThreadPoolExecutor, suffix: str, kind: str
) -> None:
    file = path.with_suffix(suffix)
    file.unlink()
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case "folder":
            file.mkdir()
        case _:
            file.touch()
            os.truncate(file, 1 << 31)

    with pytest.raises(
        (MissingWeights, UnsupportedNetwork), match=r"Not a regular file|File too large"
    ):
        built(path, workers)


def test_a_missing_preprocessing_is_refused(path: Path, workers: ThreadPoolExecutor) -> None:
    path.with_suffix(".json").unlink()

    with pytest.raises(UnsupportedNetwork, match=r"tiny\.json.* must hold resize, crop"):
        built(path, workers)


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("{", "tiny.json, Expecting"),
        ("[" * 100_000, "tiny.json, maximum recursion depth"),
        ("\xff\xfe", "tiny.json"),
        ("{}", "the fields must be exactly"),
        (json.dumps({**PREPROCESSING, "crop": 4}), "crop must be"),
    ],
)
def test_a_wrong_preprocessing_is_refused(
    path: Path, workers: ThreadPoolExecutor, text: str, wish: str
) -> None:
    path.with_suffix(".json").write_text(text, encoding="latin-1")

    with pytest.raises(UnsupportedNetwork, match=wish):
        built(path, workers)


RELU = [helper.make_node("Relu", ["image"], ["vector"])]
SAME = ("n", 3, 4, 4)
WRONG = {
    "garbage": (b"garbage", "not an ONNX network that runs"),
    "truncated": (model()[:-40], "not an ONNX network that runs"),
    "double": (model(RELU, dtype=TensorProto.DOUBLE, vector=SAME), "must take float32"),
    "channels last": (model(image=("n", 4, 4, 3), vector=("n", 4, 1, 1)), r"\(1, 3, 4, 4\)"),
    "another size": (model(image=("n", 3, 8, 8)), r"\[.n., 3, 8, 8\]"),
    "batches of two": (model(image=(2, 3, 4, 4), vector=(2, 3, 1, 1)), r"\[2, 3, 4, 4\]"),
    "a map": (model(RELU, vector=SAME), r"for one image it is \(1, 3, 4, 4\)"),
}


@pytest.mark.parametrize(("graph", "wish"), WRONG.values(), ids=WRONG)
def test_a_network_of_another_kind_is_refused(
    path: Path, workers: ThreadPoolExecutor, graph: bytes, wish: str
) -> None:
    path.write_bytes(graph)

    with pytest.raises(UnsupportedNetwork, match=wish):
        built(path, workers)


def test_weights_outside_the_file_are_refused(path: Path, workers: ThreadPoolExecutor) -> None:
    weight = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    set_external_data(weight, "w.bin")
    weight.ClearField("raw_data")
    add = helper.make_node("Add", ["image", "w"], ["vector"])
    path.write_bytes(model([add], constants=[weight]))

    with pytest.raises(UnsupportedNetwork, match="must hold its weights itself"):
        built(path, workers)
