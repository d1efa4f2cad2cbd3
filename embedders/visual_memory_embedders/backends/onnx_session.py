"""ONNX Runtime on one thread, without spinning."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from visual_memory_embedders.pipeline import Network

FATAL_ONLY = 4  # errors are raised, and need not be printed too


def open_session(graph: bytes) -> onnxruntime.InferenceSession:
    """Open a session for any number of concurrent threads, which keeps no data of its inputs.

    Its arena would keep intermediate values of a picture until the next one; without it all memory
    goes back to the C library.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = FATAL_ONLY
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def network_of(session: onnxruntime.InferenceSession) -> Network:
    """Return the session as a function of its only input."""
    (image,) = session.get_inputs()

    def run(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = session.run(None, {image.name: tensor})[0]
        return vectors

    return run
