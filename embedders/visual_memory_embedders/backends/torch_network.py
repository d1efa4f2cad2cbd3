"""PyTorch networks of timm and open_clip: running on one thread, preprocessing, weights' hash."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visual_memory_embedders.errors import UnsupportedNetwork
from visual_memory_embedders.pipeline import Network
from visual_memory_embedders.spec import Preprocessing


def network_of(encode: Callable[[Any], Any]) -> Network:
    """Return a Network that calls ``encode`` in inference mode, on one thread.

    ``encode`` maps a tensor (1, 3, height, width) to (1, d). PyTorch's number of threads is set to
    1 for the whole process.
    """
    torch.set_num_threads(1)

    def run(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            vectors: NDArray[np.float32] = encode(torch.from_numpy(tensor)).float().numpy()
        return vectors

    return run


def preprocessing_of(
    name: str, config: Mapping[str, Any], crop: tuple[int, int], resize: int | tuple[int, int]
) -> Preprocessing:
    """Make a Preprocessing from the fields of ``config`` that timm and open_clip have in common.

    Raises UnsupportedNetwork if a field has a value that is not supported.
    """
    same = {field: config[field] for field in ("interpolation", "mean", "std")}
    try:
        return Preprocessing.from_fields({"resize": resize, "crop": crop, **same})
    except ValueError as problem:
        raise UnsupportedNetwork(name, str(problem)) from None


def weights_sha256(network: Any) -> str:
    """Hash a network's state with SHA-256: for each sorted name its dtype, shape and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
