"""An embedder that takes a given time for each picture, on any machine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIDE = 320
PREPROCESSING = {
    "resize": [4, 4],
    "crop": [4, 4],
    "interpolation": "bilinear",
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
}


def write_network(path: Path, seconds: float = 0.0) -> str:
    """Write a network that takes ``seconds`` a picture; return the embedder's name.

    The vector is the mean colour.
    """
    picture, rounds = np.ones((1, 3, 4, 4), np.float32), 64 if seconds else 1
    path.write_bytes(network(rounds))
    path.with_suffix(".json").write_text(json.dumps(PREPROCESSING))
    if seconds:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options)
        began = time.process_time()  # not by a clock: under load the network would be too fast
        session.run(None, {"image": picture})
        took = time.process_time() - began
        path.write_bytes(network(max(1, round(rounds * seconds / took))))
    return f"onnx:{path}"


def network(rounds: int) -> bytes:
    """Return an ONNX network of the mean colour that multiplies matrices ``rounds`` times."""
    flat = [1, 3, 1, 1]
    body = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["state"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["matrix", "mean"], ["scaled"]),
            helper.make_node("MatMul", ["scaled", "matrix"], ["product"]),
            helper.make_node("ReduceMean", ["product"], ["left"], keepdims=0),
            helper.make_node("Mul", ["left", "zero"], ["nothing"]),
            helper.make_node("Add", ["state", "nothing"], ["next"]),
            helper.make_node("Identity", ["go_on"], ["still"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, flat),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, flat),
        ],
    )
    matrix = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
            helper.make_node("Loop", ["rounds", "yes", "pooled"], ["vector"], body=body),
        ],
        "slow",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", 3, 1, 1])],
        [
            numpy_helper.from_array(np.array(rounds), "rounds"),
            numpy_helper.from_array(np.array(True), "yes"),
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
            numpy_helper.from_array(matrix, "matrix"),
        ],
    )
    opset = helper.make_opsetid("", 17)
    model: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    return model
