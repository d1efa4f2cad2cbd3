"""The table of embedders, by name."""

import os
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import NamedTuple

from visual_memory_embedders.errors import MissingExtra, UnknownEmbedder
from visual_memory_embedders.images.images import ImageLimits
from visual_memory_embedders.pipeline import Loaded, embedder_of
from visual_memory_embedders.spec import Device, Embedder, Preprocessing


@dataclass(frozen=True, slots=True)
class LiteNetwork:
    """An EfficientNet-Lite: hash of its weight file, blocks in each stage, preprocessing."""

    weights_sha256: str
    blocks: tuple[int, ...]
    preprocessing: Preprocessing


def _lite_preprocessing(short_side: int, crop: int) -> Preprocessing:
    return Preprocessing(
        resize=short_side,
        crop=(crop, crop),
        interpolation="bicubic",
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
    )


LITE_NETWORKS: Mapping[str, LiteNetwork] = MappingProxyType(
    {
        "efficientnet-lite0": LiteNetwork(
            weights_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            blocks=(1, 2, 2, 3, 3, 4, 1),
            preprocessing=_lite_preprocessing(256, 224),
        ),
        "efficientnet-lite1": LiteNetwork(
            weights_sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            blocks=(1, 3, 3, 4, 4, 5, 1),
            preprocessing=_lite_preprocessing(272, 240),
        ),
        "efficientnet-lite2": LiteNetwork(
            weights_sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            blocks=(1, 3, 3, 4, 4, 5, 1),
            preprocessing=_lite_preprocessing(292, 260),
        ),
    }
)
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


def build(
    name: str, *, cache: Path, workers: Executor, limits: ImageLimits, device: Device = "cpu"
) -> Embedder:
    """Return the embedder called ``name``, which embeds images on the threads ``workers``.

    A network's graph may be kept in the folder ``cache``. The network runs on the ``device``.
    Raises UnknownEmbedder, MissingExtra, MissingWeights, WrongWeights, UnsupportedNetwork, NoGpu.
    """
    if network := LITE_NETWORKS.get(name):
        loaded: Loaded = _import(name, "lite_backend", "cpu").load(name, network, cache, device)
    else:
        prefix, _, argument = name.partition(":")
        if prefix not in BACKENDS or not argument:
            raise UnknownEmbedder(name, CHOICES)
        _, module, extra = BACKENDS[prefix]
        loaded = _import(name, module, extra).load(name, argument, device)
    return embedder_of(name, loaded, workers, limits)


def _import(name: str, module: str, extra: str) -> ModuleType:
    """Import the backend ``module`` only now, when the embedder called ``name`` needs it.

    Its libraries are large and may not be installed: MissingExtra then names the pip ``extra`` that
    installs them.
    """
    # ONNX Runtime reads this variable when it loads; without it, it writes telemetry files.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return import_module(f"visual_memory_embedders.backends.{module}")
    except ModuleNotFoundError as problem:
        raise MissingExtra(name, module=problem.name or module, extra=extra) from None
