"""What timm's and open_clip's networks have in common: PyTorch on one thread, and a hash."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visual_memory_embedders.pipeline import Network


def network_of(encode: Callable[[Any], Any]) -> Network:
    """``encode`` maps a tensor (1, 3, height, width) to one of (1, d); frozen, in inference mode.

    It sets PyTorch's number of threads to 1 for the whole process.
    """
    torch.set_num_threads(1)

    def run(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            vectors: NDArray[np.float32] = encode(torch.from_numpy(tensor)).float().numpy()
        return vectors

    return run


def weights_sha256(network: Any) -> str:
    """SHA-256 over the state: for each sorted name its dtype, shape and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
