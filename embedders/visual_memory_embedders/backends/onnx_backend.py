"""A user's own ONNX network, with its preprocessing in a JSON file beside it.

``onnx:/models/mine.onnx`` is read with ``/models/mine.json``, which holds the fields of
Preprocessing and nothing else; ``resize`` is the short side or [height, width]::

    {"resize": 256, "crop": [224, 224], "interpolation": "bicubic",
     "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

The file must hold its weights itself; its only input is float32 (n, 3, height, width), its only
output a float (n, d) or (n, d, 1, 1). It is run on one image at a time; on a GPU on several, unless
n is 1.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx.external_data_helper import uses_external_data

from visual_memory_embedders.backends.files import read_regular
from visual_memory_embedders.errors import (
    MissingWeights,
    NoGpu,
    UnsupportedNetwork,
    first_line,
)
from visual_memory_embedders.pipeline import AT_ONCE, Loaded, Network
from visual_memory_embedders.spec import Device, Preprocessing

GRAPH_BYTES_MAX, JSON_BYTES_MAX = (1 << 31) - 1, 1 << 20  # of protobuf, and plenty
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
CUDA_OPTIONS = {
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",  # to try all would take long for each number of pictures
    "arena_extend_strategy": "kSameAsRequested",  # PyTorch shares the GPU
}
FATAL_ONLY = 4  # errors are raised, and need not be printed too
FLOATS = ("tensor(float16)", "tensor(float)", "tensor(double)")


def load(name: str, path: str, device: Device = "cpu") -> Loaded:
    """Load the network in the ONNX file ``path`` for the embedder called ``name``.

    Raises MissingWeights, UnsupportedNetwork, NoGpu.
    """
    try:
        graph = read_regular(Path(path), GRAPH_BYTES_MAX)
    except OSError as problem:
        raise MissingWeights(name, str(problem), f"put the ONNX file at {path}") from None
    preprocessing = _preprocessing(name, Path(path).with_suffix(".json"))
    session = _session(name, graph, device)
    _check_ends(name, session, preprocessing)
    digest = hashlib.sha256(graph).hexdigest()
    return loaded(digest, preprocessing, session)


def _preprocessing(name: str, path: Path) -> Preprocessing:
    try:
        return Preprocessing.from_fields(json.loads(read_regular(path, JSON_BYTES_MAX)))
    except OSError as problem:
        wish = "it must hold resize, crop, interpolation, mean and std"
        raise UnsupportedNetwork(
            name, f"its preprocessing is missing ({problem}): {wish}"
        ) from None
    except (ValueError, RecursionError) as problem:
        raise UnsupportedNetwork(name, f"in {path}, {problem}") from None


def _session(name: str, graph: bytes, device: Device) -> onnxruntime.InferenceSession:
    try:
        tensors = onnx.load_model_from_string(graph).graph.initializer
        if any(map(uses_external_data, tensors)):
            raise UnsupportedNetwork(name, "the ONNX file must hold its weights itself")
        return session_on(device, name, graph)
    except (UnsupportedNetwork, NoGpu):
        raise
    except Exception as problem:  # ONNX Runtime's exceptions share no other class
        raise UnsupportedNetwork(name, f"it is not an ONNX network that runs: {problem}") from None


def _check_ends(
    name: str, session: onnxruntime.InferenceSession, preprocessing: Preprocessing
) -> None:
    wanted = (1, 3, *preprocessing.crop)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not _fits(inputs[0].shape, wanted):
        found = ", ".join(f"{end.type} {end.shape}" for end in inputs)
        wish = f"its only input must take float32 {wanted}"
        raise UnsupportedNetwork(name, f"{wish}, and it has {found or 'none'}")
    if len(outputs) != 1 or outputs[0].type not in FLOATS:
        found = ", ".join(f"{end.type} {end.shape}" for end in outputs)
        raise UnsupportedNetwork(
            name, f"its only output must be a float (n, d), and it has {found}"
        )


def _fits(shape: list[int | str | None], wanted: tuple[int, ...]) -> bool:
    """Return True if ``shape``, whose free sides are names or None, allows ``wanted``."""
    return len(shape) == len(wanted) and all(
        side == want or not isinstance(side, int) for side, want in zip(shape, wanted, strict=True)
    )


def open_session(graph: bytes, providers: Sequence[Any] = (CPU,)) -> onnxruntime.InferenceSession:
    """Open a session that any number of threads may use.

    Its arena keeps intermediate values of pictures until others overwrite them, or it is dropped.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = FATAL_ONLY
    return onnxruntime.InferenceSession(graph, options, providers=[*providers])


def session_on(device: Device, name: str, graph: bytes) -> onnxruntime.InferenceSession:
    """Open a session on a device, for the embedder called ``name``. Raises NoGpu."""
    if device == "cpu":
        return open_session(graph)
    if CUDA not in onnxruntime.get_available_providers():
        raise NoGpu(name, "this ONNX Runtime has no CUDA")
    onnxruntime.preload_dlls()  # of CUDA, as pip installs it
    try:
        session = open_session(graph, [(CUDA, CUDA_OPTIONS), CPU])
    except Exception as problem:  # ONNX Runtime's exceptions share no other class
        raise NoGpu(name, first_line(problem)) from None
    if not is_on_gpu(session):  # it would only warn
        raise NoGpu(name, "ONNX Runtime cannot use CUDA")
    session.disable_fallback()  # or after an error it would go on with the processor
    return session


def is_on_gpu(session: onnxruntime.InferenceSession) -> bool:
    """Return True if a session runs on a GPU."""
    return CUDA in session.get_providers()


def loaded(
    weights_sha256: str, preprocessing: Preprocessing, session: onnxruntime.InferenceSession
) -> Loaded:
    """Return the network of a session."""
    fixed = session.get_inputs()[0].shape[0] == 1
    at_once = (1 if fixed else AT_ONCE) if is_on_gpu(session) else None
    network = network_of(session)
    return Loaded(weights_sha256, preprocessing, network, keeps_values=True, at_once=at_once)


def network_of(session: onnxruntime.InferenceSession) -> Network:
    """Return a function that runs the session on one array, its only input."""
    (image,) = session.get_inputs()

    def run(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = session.run(None, {image.name: tensor})[0]
        return vectors

    return run
