"""A name gives its embedder, or an error with the names that exist."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from visual_memory_embedders import BUILT_IN, DEFAULT, ImageLimits, build
from visual_memory_embedders.errors import MissingExtra, UnknownEmbedder
from visual_memory_embedders.registry import BACKENDS, LITE_NETWORKS, LiteNetwork


@pytest.mark.parametrize("name", ["", "resnet50", "EfficientNet-lite0", "hf:a", "timm:", "onnx"])
def test_an_unknown_name_is_answered_with_the_choices(
    name: str, tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    with pytest.raises(UnknownEmbedder, match=r"lite0, .*onnx:PATH, .*timm:NAME\[@FILE\]\."):
        build(name, cache=tmp_path, workers=workers, limits=ImageLimits())


def test_the_default_is_built_in() -> None:
    assert DEFAULT in BUILT_IN


@pytest.mark.parametrize("network", LITE_NETWORKS.values())
def test_a_built_in_network_has_the_whole_hash_of_its_weights(network: LiteNetwork) -> None:
    assert re.fullmatch("[0-9a-f]{64}", network.weights_sha256)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("efficientnet-lite0", "onnxruntime", "cpu"),
        ("onnx:a.onnx", "onnxruntime", "cpu"),
        ("timm:resnet18", "timm", "timm"),
        ("open-clip:RN50/openai", "open_clip", "open-clip"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    name: str,
    library: str,
    extra: str,
    tmp_path: Path,
    workers: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in [module for module in sys.modules if module.startswith("visual_memory_embedd")]:
        if module.endswith(("_backend", "_session", "_network")):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingExtra, match=rf"{library}.*'\.\[{extra}\]'"):
        build(name, cache=tmp_path, workers=workers, limits=ImageLimits())


def test_every_backend_has_its_module() -> None:
    folder = Path(sys.modules[build.__module__].__file__ or "").parent / "backends"

    assert all((folder / f"{backend.module}.py").is_file() for backend in BACKENDS.values())
