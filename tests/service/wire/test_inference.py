"""The Open Inference Protocol answers what Classify does, bit for bit."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.api_keys import add
from tests.conftest import Server, refusal, to_picture, to_vectors

import visual_memory
from visual_memory.v1 import entry_pb2, open_inference_pb2_grpc
from visual_memory.v1 import open_inference_pb2 as inference
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start

ROWS = np.random.default_rng(2).standard_normal((30, 8)).astype("<f4")
QUERIES = np.random.default_rng(3).standard_normal((5, 8)).astype("<f4")
PICTURES = [to_picture(seed) for seed in range(3)]
DTYPES = {"FP32": "<f4", "FP64": "<f8"}


@pytest.fixture(scope="module")
def stub(server: Server) -> open_inference_pb2_grpc.GRPCInferenceServiceStub:
    with visual_memory.connect(server.address) as client:
        client.create_memory("inferred", dimension=8).insert(
            vectors=ROWS, labels=["a", "b", "c"] * 10, ids=[f"{at}" for at in range(30)]
        )
        client.create_memory("seen", embedder="efficientnet-lite0").insert(
            images=PICTURES, labels=["x", "y", "x"], ids=["1", "2", "3"]
        )
    return open_inference_pb2_grpc.GRPCInferenceServiceStub(server.channel)


def tensor(name: str, datatype: str, shape: list[int], **contents: Any) -> Any:
    return inference.ModelInferRequest.InferInputTensor(
        name=name,
        datatype=datatype,
        shape=shape,
        contents=inference.InferTensorContents(**contents) if contents else None,
    )


def asking(memory: str = "inferred", **more: Any) -> inference.ModelInferRequest:
    """Return a request with the queries as raw contents."""
    values: dict[str, Any] = {
        "inputs": [tensor("vectors", "FP32", list(QUERIES.shape))],
        "raw_input_contents": [QUERIES.tobytes()],
    }
    return inference.ModelInferRequest(model_name=memory, **values | more)


def test_the_version_is_of_the_entries_that_answered_also_beside_a_writer(
    stub: Any, server: Server
) -> None:
    """Two states have other answers, and a writer goes to and fro between them."""
    rows = np.random.default_rng(4).standard_normal((256, 8)).astype("<f4")
    request = asking(
        "written",
        inputs=[tensor("vectors", "FP32", list(rows.shape))],
        raw_input_contents=[rows.tobytes()],
        parameters={"k": inference.InferParameter(int64_param=3)},
    )
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("written", dimension=8)
        near: dict[str, Any] = {"vectors": rows, "labels": ["near"] * 256}
        near["ids"] = [f"near {at}" for at in range(256)]
        memory.insert(vectors=ROWS, labels=["far"] * 30)
        states = {memory.info().digest: stub.ModelInfer(request)}
        memory.insert(**near)
        states[memory.info().digest] = stub.ModelInfer(request)
        over = threading.Event()

        def write() -> None:
            while not over.is_set():
                memory.delete(near["ids"])
                memory.insert(**near)

        answers, refused = [], set[str]()
        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(write)
            try:
                for number in range(30):
                    request.model_version = next(iter(states)) if number % 2 else ""
                    try:
                        answers.append((request.model_version, stub.ModelInfer(request)))
                    except grpc.RpcError as error:
                        refused.add(visual_memory.errors.from_rpc(error, "").reason)
            finally:
                over.set()
            writing.result()

    for version, answer in answers:
        assert answer == states[answer.model_version]
        assert version in ("", answer.model_version)
    assert refused <= {"OTHER_VERSION"}


def texts(data: bytes) -> list[str]:
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        found.append(data[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return found


def values(answer: inference.ModelInferResponse) -> dict[str, Any]:
    """Return the outputs by name, in their shapes."""
    found: dict[str, Any] = {}
    for output, data in zip(answer.outputs, answer.raw_output_contents, strict=True):
        if output.datatype == "BYTES":
            flat = np.array(texts(data), object)
        else:
            flat = np.frombuffer(data, DTYPES[output.datatype])
        found[output.name] = flat.reshape(output.shape)
    return found


def expected(decisions: Any) -> dict[str, Any]:
    neighbors = [each.neighbors for each in decisions]
    return {
        "label": [each.label for each in decisions],
        "confidence": [each.confidence for each in decisions],
        "neighbor_ids": [[each.id for each in row] for row in neighbors],
        "neighbor_labels": [[each.label for each in row] for row in neighbors],
        "distances": [[each.distance for each in row] for row in neighbors],
    }


def test_outputs_have_the_bits_of_classify(stub: Any, server: Server) -> None:
    asked = pb.ClassifyRequest(
        memory="inferred", vectors=to_vectors(QUERIES), k=7, voting="softmax"
    )
    parameters = {
        "k": inference.InferParameter(int64_param=7),
        "voting": inference.InferParameter(string_param="softmax"),
    }
    whole = expected(server.stub.Classify(asked).decisions)
    plain = asking(
        inputs=[tensor("vectors", "FP32", [5, 8], fp32_contents=QUERIES.ravel().tolist())],
        raw_input_contents=[],
        parameters=parameters,
    )
    for request in (asking(parameters=parameters), plain):
        found = values(stub.ModelInfer(request))
        assert {name: each.tolist() for name, each in found.items()} == whole


def test_pictures_are_bytes(stub: Any, server: Server) -> None:
    images = entry_pb2.Images(data=PICTURES[:2])
    whole = expected(
        server.stub.Classify(pb.ClassifyRequest(memory="seen", images=images)).decisions
    )
    raw = b"".join(len(each).to_bytes(4, "little") + each for each in PICTURES[:2])
    for more in (
        {"inputs": [tensor("images", "BYTES", [2])], "raw_input_contents": [raw]},
        {
            "inputs": [tensor("images", "BYTES", [2, 1], bytes_contents=PICTURES[:2])],
            "raw_input_contents": [],
        },
    ):
        found = values(stub.ModelInfer(asking("seen", **more)))
        assert {name: each.tolist() for name, each in found.items()} == whole


def test_a_memory_is_described_as_a_model(stub: Any, server: Server) -> None:
    memory = server.stub.GetMemory(pb.GetMemoryRequest(name="inferred"))
    described = stub.ModelMetadata(inference.ModelMetadataRequest(name="inferred"))
    pictured = stub.ModelMetadata(inference.ModelMetadataRequest(name="seen"))
    answer = stub.ModelInfer(asking(id="mine", model_version=memory.digest))

    assert list(described.versions) == [memory.digest]
    assert [(each.name, list(each.shape)) for each in described.inputs] == [("vectors", [-1, 8])]
    assert [(each.name, each.datatype) for each in pictured.inputs] == [("images", "BYTES")]
    assert {each.name for each in described.outputs} == {each.name for each in answer.outputs}
    assert (answer.model_name, answer.model_version, answer.id) == (
        "inferred",
        memory.digest,
        "mine",
    )
    told = stub.ServerMetadata(inference.ServerMetadataRequest())
    assert (told.name, told.version) == ("visual-memory", visual_memory.__version__)


def test_a_server_that_is_told_to_stop_is_live_and_not_ready(start: Start) -> None:
    server, over = start(), threading.Event()
    probes = open_inference_pb2_grpc.GRPCInferenceServiceStub(server.channel)
    search: Any = server.channel.stream_unary("/visual_memory.v1.VisualMemory/Search")
    late = search.future(itertools.takewhile(lambda _: over.wait(30), [b""]))
    assert probes.ServerReady(inference.ServerReadyRequest(), timeout=5).ready
    server.process.send_signal(signal.SIGTERM)

    while probes.ServerReady(inference.ServerReadyRequest(), timeout=5).ready:
        time.sleep(0.01)
    assert probes.ServerLive(inference.ServerLiveRequest(), timeout=5).live

    over.set()
    assert server.wait() == 0
    assert late.exception() is not None


def test_what_serves_is_ready(stub: Any) -> None:
    assert stub.ServerLive(inference.ServerLiveRequest()).live
    assert stub.ServerReady(inference.ServerReadyRequest()).ready
    for name, version, ready in (
        ("inferred", "", True),
        ("inferred", "1", False),
        ("nothing", "", False),
    ):
        asked = inference.ModelReadyRequest(name=name, version=version)
        assert stub.ModelReady(asked).ready is ready


def test_the_outputs_that_are_wanted_are_answered(stub: Any) -> None:
    wanted = [inference.ModelInferRequest.InferRequestedOutputTensor(name="distances")]

    assert list(values(stub.ModelInfer(asking(outputs=wanted)))) == ["distances"]


def parameter(name: str, **value: Any) -> dict[str, Any]:
    return {"parameters": {name: inference.InferParameter(**value)}}


@pytest.mark.parametrize(
    ("more", "reason", "sentence"),
    [
        ({"memory": "nothing"}, "UNKNOWN_MEMORY", "nothing"),
        ({"model_version": "1"}, "OTHER_VERSION", "has the digest"),
        ({"inputs": []}, "BAD_FIELD", "must be one tensor"),
        (
            {"inputs": [tensor("rows", "FP32", [5, 8])]},
            "BAD_FIELD",
            'must be "images" or "vectors"',
        ),
        ({"inputs": [tensor("vectors", "FP64", [5, 8])]}, "BAD_FIELD", "must be FP32"),
        ({"inputs": [tensor("vectors", "FP32", [5, 9])]}, "BAD_FIELD", "160 bytes"),
        ({"inputs": [tensor("vectors", "FP32", [-5, -8])]}, "BAD_FIELD", "[queries, dimension]"),
        ({"inputs": [tensor("vectors", "FP32", [40])]}, "BAD_FIELD", "[queries, dimension]"),
        ({"inputs": [tensor("vectors", "FP32", [1 << 40, 1 << 40])]}, "BAD_FIELD", "160 bytes"),
        ({"inputs": [tensor("vectors", "FP32", [4, 10])]}, "WRONG_DIMENSION", "dimension 10"),
        ({"inputs": [tensor("images", "BYTES", [1])]}, "BAD_FIELD", "ends within an element"),
        ({"raw_input_contents": [b"", b""]}, "BAD_FIELD", "as many as inputs"),
        ({"outputs": [{"name": "logits"}]}, "BAD_FIELD", "but one is"),
        ({"outputs": [{"name": "label"}] * 2}, "BAD_FIELD", "each output once"),
        (
            {"inputs": [tensor("vectors", "FP32", [5, 8], fp32_contents=[1.0])]},
            "BAD_FIELD",
            "must be empty beside",
        ),
        (parameter("temperatur", double_param=1.0), "BAD_FIELD", "temperature"),
        (parameter("memory", string_param="other"), "BAD_FIELD", "is none"),
        (parameter("k", string_param="5"), "BAD_FIELD", "must be int"),
        (parameter("k", bool_param=True), "BAD_FIELD", "must be int"),
        (parameter("k", int64_param=1 << 40), "BAD_FIELD", "out of range"),
        (parameter("k"), "BAD_FIELD", "must be int"),
        (parameter("voting", string_param="loud"), "BAD_FIELD", "voting"),
    ],
)
def test_other_requests_are_refused_with_the_reason(
    more: dict[str, Any], reason: str, sentence: str, stub: Any
) -> None:
    error = refusal(stub.ModelInfer, asking(**more))

    assert error.reason == reason
    assert sentence in error.message


def test_keys_count_here_too(start: Any, tmp_path: Any) -> None:
    data = tmp_path / "data"
    texts = {scope: add(data, scope, scope) for scope in ("admin", "read", "erase")}
    texts["others"] = add(data, "others", "read", memories=("others*",))
    server = start(data, "--erasure", "files")
    with visual_memory.connect(server.address, api_key=texts["admin"]) as client:
        client.create_memory("inferred", dimension=8).insert(vectors=ROWS, labels=["a"] * 30)
    stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(server.channel)

    def reason(call: Any, request: Any, name: str | None) -> str:
        metadata = () if name is None else (("api-key", texts[name]),)
        try:
            call(request, metadata=metadata)
        except grpc.RpcError as error:
            return visual_memory.errors.from_rpc(error, "").reason
        return ""

    assert stub.ServerLive(inference.ServerLiveRequest()).live
    assert stub.ServerReady(inference.ServerReadyRequest()).ready
    for call, request in (
        (stub.ModelInfer, asking()),
        (stub.ModelMetadata, inference.ModelMetadataRequest(name="inferred")),
        (stub.ModelReady, inference.ModelReadyRequest(name="inferred")),
    ):
        assert reason(call, request, None) == "NO_KEY"
        assert reason(call, request, "erase") == "WRONG_SCOPE"
        assert reason(call, request, "others") == "OTHER_MEMORIES"
        assert reason(call, request, "read") == ""
    assert reason(stub.ServerMetadata, inference.ServerMetadataRequest(), None) == "NO_KEY"
