"""PyTorch networks of timm and open_clip: where they run, preprocessing, weights' hash."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visual_memory_embedders.errors import NoGpu, UnsupportedNetwork
from visual_memory_embedders.pipeline import AT_ONCE, Loaded
from visual_memory_embedders.spec import Device, Preprocessing

Place = tuple[Any, Any]  # a torch.device, and a torch.dtype


def gpu_of(name: str, device: Device) -> Place | None:
    """Return where the network of the embedder ``name`` runs on a GPU, None for the processor.

    Raises NoGpu.
    """
    if device == "cpu":
        return None
    if not torch.cuda.is_available():
        raise NoGpu(name, "PyTorch finds none")
    return torch.device("cuda"), torch.float16


def loaded(
    digest: str,
    preprocessing: Preprocessing,
    weights: Any,
    encode: Callable[[Any], Any],
    place: Place | None = None,
) -> Loaded:
    """Return the network ``encode``; its ``weights``, of this ``digest``, move to ``place``.

    The weights are a module. ``encode`` maps a tensor (n, 3, height, width) to (n, d). It is called
    in inference mode, and on one thread: PyTorch's number of threads is set to 1 for the whole
    process.
    """
    torch.set_num_threads(1)
    if place is not None:
        weights.to(*place)
    device, kind = place or (torch.device("cpu"), torch.float32)

    def run(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            there = torch.from_numpy(tensor).to(device, kind)
            vectors: NDArray[np.float32] = encode(there).float().cpu().numpy()
        return vectors

    at_once = AT_ONCE if place else None
    return Loaded(digest, preprocessing, run, keeps_values=False, at_once=at_once)


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
