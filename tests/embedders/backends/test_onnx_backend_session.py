"""A session keeps to one thread and does not spin."""

import onnxruntime
import pytest
from onnx import TensorProto, helper

from visual_memory_embedders import Device, Preprocessing
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
def test_without_cuda_a_gpu_is_refused_and_auto_is_the_processor() -> None:
    assert not is_on_gpu(session_on("auto", "n", tiny()))
    with pytest.raises(NoGpu, match=r"^'n' cannot run on a GPU \(ONNX Runtime cannot use CUDA\)"):
        session_on("cuda", "n", tiny())


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_on_the_processor_bits_are_equal(device: Device) -> None:
    if WITH_CUDA and device == "auto":
        pytest.skip("ONNX Runtime has CUDA here")
    preprocessing = Preprocessing(4, (4, 4), "bicubic", (0.0,) * 3, (1.0,) * 3)

    assert loaded("aa", preprocessing, session_on(device, "n", tiny())).at_once is None
