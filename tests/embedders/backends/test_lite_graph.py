"""The graph is valid ONNX, and computes what a plain loop over its weights computes."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from visual_memory_embedders.backends.legacy_weights import read_legacy_weights
from visual_memory_embedders.backends.lite_backend import weight_file
from visual_memory_embedders.backends.lite_graph import lite_graph
from visual_memory_embedders.backends.onnx_backend import network_of, open_session
from visual_memory_embedders.registry import LITE_NETWORKS

Array = NDArray[Any]
NAME = "efficientnet-lite0"
LITE0 = LITE_NETWORKS[NAME]
STARTS = {0: 1, 1: 2, 3: 2, 5: 2, 8: 1, 11: 2, 15: 1}


@pytest.fixture(scope="module")
def weights() -> dict[str, Array]:
    return read_legacy_weights(weight_file(NAME, LITE0))


def graph(weights: dict[str, Array], side: int) -> bytes:
    return lite_graph(weights, blocks=LITE0.blocks, crop=(side, side))


def test_the_graph_is_valid_and_free_in_its_first_dimension(
    weights: dict[str, Array],
) -> None:
    model = onnx.load_model_from_string(graph(weights, 224))

    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


def test_the_same_weights_give_the_same_bytes(weights: dict[str, Array]) -> None:
    assert graph(weights, 224) == graph(weights, 224)


def test_the_graph_computes_what_a_plain_loop_computes(weights: dict[str, Array]) -> None:
    image = np.random.default_rng(0).normal(size=(1, 3, 33, 33)).astype(np.float32)

    embedding = network_of(open_session(graph(weights, 33)))(image)

    np.testing.assert_allclose(embedding[0], plain(weights, image[0]), atol=1e-4)


def plain(weights: dict[str, Array], x: Array) -> Array:
    x = relu6(norm(weights, "_bn0", conv(x, weights["_conv_stem.weight"], 2)))
    for block in range(sum(LITE0.blocks)):
        name, before, stride = f"_blocks.{block}.", x, STARTS.get(block, 1)
        if block:
            x = relu6(
                norm(weights, f"{name}_bn0", conv(x, weights[f"{name}_expand_conv.weight"], 1))
            )
        depthwise = conv(x, weights[f"{name}_depthwise_conv.weight"], stride)
        x = relu6(norm(weights, f"{name}_bn1", depthwise))
        x = norm(weights, f"{name}_bn2", conv(x, weights[f"{name}_project_conv.weight"], 1))
        x = x + before if block not in STARTS else x
    x = relu6(norm(weights, "_bn1", conv(x, weights["_conv_head.weight"], 1)))
    mean: Array = x.mean(axis=(1, 2))
    return mean


def conv(x: Array, weight: Array, stride: int) -> Array:
    kernel, side = weight.shape[-1], -(-x.shape[-1] // stride)
    padding = max(0, (side - 1) * stride + kernel - x.shape[-1])
    x = np.pad(x, [(0, 0), *[(padding // 2, padding - padding // 2)] * 2])
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    sums: Array
    if weight.shape[1] == 1:
        sums = np.einsum("chwij,cij->chw", windows, weight[:, 0])
    else:
        sums = np.einsum("chwij,ocij->ohw", windows, weight, optimize=True)
    return sums


def norm(weights: dict[str, Array], name: str, x: Array) -> Array:
    scale, shift, mean, variance = (
        weights[f"{name}.{part}"].astype(float)[:, np.newaxis, np.newaxis]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    normal: Array = (x - mean) / np.sqrt(variance + 1e-3) * scale + shift
    return normal


def relu6(x: Array) -> Array:
    return np.minimum(np.maximum(x, 0), 6)
