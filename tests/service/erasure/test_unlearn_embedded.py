"""Nothing that an embedder computes from a picture remains after its entry is unlearned."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.service.erasure.residue import Residue

import visual_memory
import visual_memory_service.demo
from visual_memory_embedders import ImageLimits, build
from visual_memory_embedders.images.images import decode
from visual_memory_embedders.images.preprocess import preprocess
from visual_memory_embedders.pipeline import NetworkEmbedder

if TYPE_CHECKING:
    from tests.conftest import Start

NAME = "efficientnet-lite0"
PHOTOGRAPHS = Path(visual_memory_service.demo.__file__).parent / "caltech101"
PIECE_BYTES, PIECES, TRIES = 64, 40, 400


def activations(graph: Path, tensor: NDArray[np.float32], work: Path) -> dict[str, bytes]:
    """Return the output of every node of a network, by name, as ONNX Runtime lays it out."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(work / "optimized.onnx")
    onnxruntime.InferenceSession(str(graph), options)
    model = onnx.load(work / "optimized.onnx")
    known = {each.name for each in model.graph.output}
    for name in (name for node in model.graph.node for name in node.output):
        if name not in known:
            model.graph.output.add().name = name
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    values = session.run(None, {session.get_inputs()[0].name: tensor})
    names = [each.name for each in session.get_outputs()]
    return {name: value.tobytes() for name, value in zip(names, values, strict=True)}


def pieces_of(name: str, data: bytes, rng: np.random.Generator) -> dict[str, bytes]:
    """Return pieces of an output that are varied enough to be unique to the picture."""
    starts = rng.integers(0, (len(data) - PIECE_BYTES) // 4, TRIES).tolist()
    tried = {f"{name} {at}": data[4 * at : 4 * at + PIECE_BYTES] for at in starts}
    telling = {key: piece for key, piece in tried.items() if len(set(piece)) > PIECE_BYTES // 2}
    return dict(list(telling.items())[:PIECES])


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_is_left_of_what_a_network_computed_of_a_picture(
    start: Start, tmp_path: Path
) -> None:
    picture = next(PHOTOGRAPHS.rglob("*.jpg")).read_bytes()
    with ThreadPoolExecutor(1) as workers:
        embedder = build(NAME, cache=tmp_path, workers=workers, limits=ImageLimits())
    assert isinstance(embedder, NetworkEmbedder)
    image = decode(picture, limits=ImageLimits())
    tensor = preprocess(image, embedder.spec.preprocessing)[np.newaxis]
    (graph,) = tmp_path.glob("*.onnx")
    computed = {
        "pixels": image.tobytes(),
        "tensor": tensor.tobytes(),
        "output": embedder.network(tensor).tobytes(),
        **activations(graph, tensor, tmp_path),
    }
    rng = np.random.default_rng(1)
    pieces = [pieces_of(name, data, rng) for name, data in computed.items()]
    residue = Residue({key: piece for each in pieces for key, piece in each.items()})
    assert pieces[2]
    assert sum(map(bool, pieces)) > len(pieces) // 2

    server = start()
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("album", embedder=NAME)
        memory.insert(images=[picture], labels=["cat"], ids=["secret-0001"])
        certificate = memory.unlearn(["secret-0001"])

    assert len(certificate.searched) == 2
    assert residue.in_process(server.process.pid) == {}
