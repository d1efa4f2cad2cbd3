"""The built-in networks, run by ONNX Runtime."""

from concurrent.futures import Executor
from pathlib import Path

from visual_memory_embedders.backends.graph_cache import cached_graph
from visual_memory_embedders.backends.legacy_weights import read_legacy_weights
from visual_memory_embedders.backends.lite_graph import DIMENSION, VERSION, lite_graph
from visual_memory_embedders.backends.onnx_session import network_of, open_session
from visual_memory_embedders.backends.weight_file import weight_file
from visual_memory_embedders.images.images import ImageLimits
from visual_memory_embedders.lite import LiteNetwork
from visual_memory_embedders.pipeline import NetworkEmbedder
from visual_memory_embedders.spec import EmbedderSpec


def build(
    name: str, network: LiteNetwork, *, cache: Path, workers: Executor, limits: ImageLimits
) -> NetworkEmbedder:
    """Build a built-in network. Raises MissingWeights, WrongWeights."""

    def make() -> bytes:
        weights = read_legacy_weights(weight_file(name, network))
        return lite_graph(weights, blocks=network.blocks, crop=network.preprocessing.crop)

    file = f"{name}-{network.weights_sha256[:16]}-v{VERSION}.onnx"
    session = open_session(cached_graph(cache / file, make))
    spec = EmbedderSpec(
        name=name,
        weights_sha256=network.weights_sha256,
        dimension=DIMENSION,
        preprocessing=network.preprocessing,
        bit_equal=True,
    )
    return NetworkEmbedder(spec, network_of(session), workers, limits)
