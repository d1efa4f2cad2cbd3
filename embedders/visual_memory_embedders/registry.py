"""The table of embedders, by name."""

import os
from collections.abc import Mapping
from concurrent.futures import Executor
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import NamedTuple

from visual_memory_embedders.errors import MissingExtra, UnknownEmbedder
from visual_memory_embedders.images.images import ImageLimits
from visual_memory_embedders.lite import LITE_NETWORKS
from visual_memory_embedders.pipeline import Loaded, embedder_of
from visual_memory_embedders.spec import Embedder

BUILT_IN = tuple(LITE_NETWORKS)
DEFAULT = "efficientnet-lite0"


class Backend(NamedTuple):
    """A kind of embedder: the form of its names after the prefix, its module, its pip extra."""

    form: str
    module: str
    extra: str


BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "onnx": Backend("PATH", "onnx_backend", "cpu"),
        "open-clip": Backend("NAME/PRETRAINED", "open_clip_backend", "open-clip"),
        "timm": Backend("NAME[@FILE]", "timm_backend", "timm"),
    }
)
CHOICES = (*BUILT_IN, *(f"{prefix}:{backend.form}" for prefix, backend in BACKENDS.items()))


def build(name: str, *, cache: Path, workers: Executor, limits: ImageLimits) -> Embedder:
    """Return the embedder called ``name``, which embeds images on the threads ``workers``.

    A network's graph may be kept in the folder ``cache``. Raises UnknownEmbedder, MissingExtra,
    MissingWeights, WrongWeights, UnsupportedNetwork.
    """
    if network := LITE_NETWORKS.get(name):
        loaded: Loaded = _import(name, "lite_backend", "cpu").load(name, network, cache)
    else:
        prefix, _, argument = name.partition(":")
        if prefix not in BACKENDS or not argument:
            raise UnknownEmbedder(name, CHOICES)
        _, module, extra = BACKENDS[prefix]
        loaded = _import(name, module, extra).load(name, argument)
    return embedder_of(name, *loaded, workers, limits)


def _import(name: str, module: str, extra: str) -> ModuleType:
    """Import a backend when it is needed: its libraries are large and may not be installed."""
    # ONNX Runtime reads this variable when it loads; without it, it writes telemetry files.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return import_module(f"visual_memory_embedders.backends.{module}")
    except ModuleNotFoundError as problem:
        raise MissingExtra(name, module=problem.name or module, extra=extra) from None
