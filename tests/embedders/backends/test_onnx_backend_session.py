"""A session keeps to one thread and does not spin."""

import onnxruntime
import pytest
from onnx import TensorProto, helper

from visual_memory_embedders import Preprocessing
from visual_memory_embedders.backends.onnx_backend import (
    CUDA,
    is_on_gpu,
    loaded,
    open_session,
    session_on,
)
from visual_memory_embedders.errors import NoGpu

WITH_CUDA = CUDA in onnxruntime.get_available_providers()


def tiny() -> bytes:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "tiny", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    return model.SerializeToString()


def test_a_session_keeps_to_one_thread() -> None:
    session = open_session(tiny())

    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.skipif(WITH_CUDA, reason="ONNX Runtime has CUDA here")
def test_without_cuda_a_gpu_is_refused() -> None:
    with pytest.raises(NoGpu, match=r"^'n' cannot run on a GPU \(this ONNX Runtime has no CUDA\)"):
        session_on("cuda", "n", tiny())


def test_on_the_processor_bits_are_equal() -> None:
    preprocessing = Preprocessing(4, (4, 4), "bicubic", (0.0,) * 3, (1.0,) * 3)
    session = session_on("cpu", "n", tiny())

    assert not is_on_gpu(session)
    assert loaded("aa", preprocessing, session).at_once is None
