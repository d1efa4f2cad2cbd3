"""A network of timm: ``timm:NAME`` with its published weights, ``timm:NAME@FILE`` with a file's."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm

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
    """Load timm's ``network``, NAME or NAME@FILE, for the embedder called ``name``.

    Raises MissingWeights, UnsupportedNetwork, NoGpu.
    """
    place = gpu_of(name, device)
    architecture, at, file = network.partition("@")
    if at and not Path(file).is_file():
        raise MissingWeights(name, f"there is no file {file}", f"put the weights at {file}")
    model = _create(name, architecture, {"file": file} if at else None)
    digest = weights_sha256(model)
    if at and weights_sha256(_create(name, architecture, {"file": file})) != digest:
        raise UnsupportedNetwork(name, f"{file} leaves some of its weights to chance")
    preprocessing = _preprocessing(name, timm.data.resolve_model_data_config(model))
    return loaded(digest, preprocessing, model, model, place)


def _create(name: str, architecture: str, overlay: dict[str, str] | None) -> Any:
    try:
        model = timm.create_model(
            architecture, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
        )
    except Exception as problem:  # timm, the hub and PyTorch raise errors of any class
        remedy = "name a network that timm can load, or download its file and use timm:NAME@FILE"
        raise MissingWeights(name, f"timm says: {problem}", remedy) from None
    return model.eval()


def _preprocessing(name: str, config: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing that timm's ``transforms_imagenet_eval`` builds.

    ``config`` is what timm's ``resolve_model_data_config`` returns. Raises UnsupportedNetwork,
    which names the embedder by ``name``.
    """
    channels, height, width = config["input_size"]
    mode = config["crop_mode"]
    if channels != 3 or mode not in ("center", "squash") or (mode == "center" and height != width):
        wish = "it must take RGB, cut from the centre as a square or squashed"
        raise UnsupportedNetwork(name, f"{wish}, and timm says {dict(config)}")
    scaled = tuple(math.floor(side / config["crop_pct"]) for side in (height, width))
    resize = scaled if mode == "squash" else scaled[0]
    return preprocessing_of(name, config, (height, width), resize)
