"""EfficientNet-lite as an ONNX graph, written node by node from its weights."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

VERSION = 1  # of the graph: raise it with any change, and old files in the cache are left alone
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of each stage's first block
EPSILON = 1e-3  # of TensorFlow's batch norm, with which the weights were trained
DIMENSION = 1280


def lite_graph(
    weights: Mapping[str, NDArray[Any]], *, blocks: Iterable[int], crop: tuple[int, int]
) -> bytes:
    """Return the ONNX file of a network from ``image`` float32 (n, 3, *crop) to ``embedding``.

    ``blocks`` has the number of blocks in each stage. ``embedding``, float32 (n, 1280), is the mean
    of the last feature map.
    """
    graph = _Graph(weights)
    last = graph.conv("image", "_conv_stem", "_bn0", stride=2)
    for block, stride in enumerate(_strides(blocks)):
        last = graph.block(last, f"_blocks.{block}", stride=stride)
    last = graph.conv(last, "_conv_head", "_bn1")
    last = graph.node("GlobalAveragePool", [last], "mean")
    graph.node("Flatten", [last], "embedding")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet-lite",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, *crop])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSION])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return model.SerializeToString(deterministic=True)


def _strides(blocks: Iterable[int]) -> Iterator[int]:
    for count, stride in zip(blocks, STRIDES, strict=True):
        yield stride
        yield from [1] * (count - 1)


class _Graph:
    """An ONNX graph under construction; methods add nodes and return the name of the output."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._weights = weights
        self._constant("zero", np.float32(0))
        self._constant("six", np.float32(6))

    def block(self, before: str, name: str, *, stride: int) -> str:
        """Add the inverted residual block called ``name`` after ``before``, the output of a node.

        It expands, filters each channel with this ``stride``, projects, and adds its input if the
        shapes are equal.
        """
        last = before
        if f"{name}._expand_conv.weight" in self._weights:
            last = self.conv(last, f"{name}._expand_conv", f"{name}._bn0")
        last = self.conv(last, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
        last = self.conv(last, f"{name}._project_conv", f"{name}._bn2", relu6=False)
        narrow = self._weights[f"{name}._project_conv.weight"]
        wide = self._weights.get(f"{name}._expand_conv.weight")
        if stride == 1 and wide is not None and wide.shape[1] == narrow.shape[0]:
            last = self.node("Add", [before, last], f"{name}.sum")
        return last

    def conv(
        self, before: str, name: str, norm: str, *, stride: int = 1, relu6: bool = True
    ) -> str:
        """Add a convolution of ``before``, the output of a node, with its batch norm folded in.

        ``name`` and ``norm`` are the names of both among the weights. Padding is TensorFlow's;
        unless ``relu6`` is False, the result is clipped to [0, 6].
        """
        weight, bias = self._folded(name, norm)
        inputs = [before, self._constant(f"{name}.weight", weight)]
        last = self.node(
            "Conv",
            [*inputs, self._constant(f"{name}.bias", bias)],
            name,
            auto_pad="SAME_UPPER",
            group=weight.shape[0] if weight.shape[1] == 1 else 1,
            strides=[stride, stride],
        )
        return self.node("Clip", [last, "zero", "six"], f"{name}.relu6") if relu6 else last

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _folded(self, name: str, norm: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scale, shift, mean, variance = (
            self._weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / np.sqrt(variance + EPSILON)
        weight = self._weights[f"{name}.weight"] * scale.reshape(-1, 1, 1, 1)
        return weight.astype(np.float32), (shift - mean * scale).astype(np.float32)

    def _constant(self, name: str, value: NDArray[np.float32] | np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name
