"""The image tower of an open_clip network: ``open-clip:NAME/PRETRAINED``, a tag or a file."""

from pathlib import Path
from typing import Any

import open_clip

from visual_memory_embedders.backends.torch_network import (
    gpu_of,
    loaded,
    preprocessing_of,
    weights_sha256,
)
from visual_memory_embedders.errors import MissingWeights, UnsupportedNetwork
from visual_memory_embedders.pipeline import Loaded
from visual_memory_embedders.spec import Device, Preprocessing


def load(name: str, network: str, device: Device = "cpu") -> Loaded:
    """Load open_clip's ``network``, NAME/PRETRAINED, for the embedder called ``name``.

    Raises MissingWeights, UnsupportedNetwork, NoGpu.
    """
    place = gpu_of(name, device)
    architecture, _, pretrained = network.partition("/")
    model = _create(name, architecture, pretrained)
    preprocessing = _preprocessing(name, model.visual.preprocess_cfg)
    return loaded(
        weights_sha256(model.visual), preprocessing, model.visual, model.encode_image, place
    )


def _create(name: str, architecture: str, pretrained: str) -> Any:
    remedy = "name a tag that open_clip can load, or the path of a file after the first slash"
    file = Path(pretrained)
    if file.exists() and not (file.is_file() or file.is_dir()):  # to read it might not end
        raise MissingWeights(name, f"{pretrained} is not a regular file", remedy)
    try:
        model = open_clip.create_model(architecture, pretrained=pretrained, require_pretrained=True)
    except Exception as problem:  # open_clip, the hub and PyTorch raise errors of any class
        raise MissingWeights(name, f"open_clip says: {problem}", remedy) from None
    return model.eval()


def _preprocessing(name: str, config: dict[str, Any]) -> Preprocessing:
    """Return the preprocessing that open_clip's ``image_transform`` builds for evaluation.

    ``config`` is the network's ``preprocess_cfg``. Raises UnsupportedNetwork, which names the
    embedder by ``name``.
    """
    size, mode = config["size"], config["resize_mode"]
    height, width = (size, size) if isinstance(size, int) else size
    if mode not in ("shortest", "squash") or (mode == "shortest" and height != width):
        wish = "its images must be cut from the centre as a square or squashed"
        raise UnsupportedNetwork(name, f"{wish}, and open_clip says {config}")
    resize = (height, width) if mode == "squash" else height
    return preprocessing_of(name, config, (height, width), resize)
