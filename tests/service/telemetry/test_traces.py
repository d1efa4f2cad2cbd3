"""A collector gets a span of each call with its parts, as the caller began the trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.conftest import Server, to_picture, to_vectors
from tests.service.telemetry.conftest import Refuse

import visual_memory
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLASSIFY = "visual_memory.v1.VisualMemory/Classify"
ROWS, CALLS = 40_000, 40  # enough that searches are done in threads, and some together


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that keeps the spans that it gets."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def parts(self, span: Span) -> list[Span]:
        return [each for each in self.spans if each.parent_span_id == span.span_id]


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    collector, server = Collector(), grpc.server(ThreadPoolExecutor(2))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_spans_have_parts_callers_and_batches(
    collector: tuple[Collector, str], start: Callable[..., Server]
) -> None:
    got, endpoint = collector
    server = start(None, "--traces-to", endpoint, "--erasure", "files")
    rows = np.random.default_rng(0).standard_normal((ROWS, 32)).astype("<f4")
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=32)
        memory.insert(vectors=rows, labels=["a", "b"] * (ROWS // 2))
        album = client.create_memory("album", embedder="efficientnet-lite0")
        album.insert(images=[to_picture(1), to_picture(2)], labels=["x", "y"])
    traced = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("api-key", "not a secret"))
    question = pb.ClassifyRequest(memory="pets", vectors=to_vectors(rows[:1]), k=3)
    calls = [server.stub.Classify.future(question, metadata=traced) for _ in range(CALLS)]
    for call in calls:
        call.result()
    with pytest.raises(grpc.RpcError):
        server.stub.Classify(pb.ClassifyRequest(memory="nobody"))
    picture = entry_pb2.Images(data=[to_picture(3)])
    server.stub.Classify(pb.ClassifyRequest(memory="album", images=picture))
    assert server.end() == 0

    ours = [span for span in got.named(CLASSIFY) if span.trace_id.hex() == TRACE]
    assert len(ours) == CALLS
    for span in ours:
        parts = got.parts(span)
        assert span.parent_span_id.hex() == PARENT
        assert attributes(span)["rpc.grpc.status_code"] == 0
        assert attributes(span)["enduser.id"] == "local"
        assert {"receive", "admit", "wait", "search", "vote"} <= {each.name for each in parts}
        for part in parts:
            assert span.start_time_unix_nano <= part.start_time_unix_nano + 1000
            assert part.start_time_unix_nano <= part.end_time_unix_nano
            assert part.end_time_unix_nano <= span.end_time_unix_nano + 1000
    batches = {span.span_id: span for span in got.named("search batch")}
    linked = [each for span in ours for each in got.parts(span) if each.name == "search"]
    for each in linked:
        (link,) = each.links
        assert attributes(batches[link.span_id])["queries"] == attributes(each)["queries"]
    assert 1 <= len({each.links[0].span_id for each in linked}) < CALLS
    (refused,) = [
        span for span in got.named(CLASSIFY) if attributes(span)["rpc.grpc.status_code"] == 5
    ]
    assert refused.status.code == 0
    (of_picture,) = [
        span for span in got.named(CLASSIFY) if "embed" in {each.name for each in got.parts(span)}
    ]
    assert of_picture.trace_id.hex() != TRACE
    (embedded,) = [each for each in got.parts(of_picture) if each.name == "embed"]
    (decoded,) = [each for each in got.parts(of_picture) if each.name == "decode"]
    assert embedded.start_time_unix_nano <= decoded.start_time_unix_nano
    assert decoded.end_time_unix_nano <= embedded.end_time_unix_nano
    insertions = [
        span
        for name in ("InsertEntries", "ImportEntries")
        for span in got.named(f"visual_memory.v1.VisualMemory/{name}")
    ]
    assert insertions
    for span in insertions:
        assert "commit" in {each.name for each in got.parts(span)}
    everything = b"".join(span.SerializeToString() for span in got.spans)
    assert b"not a secret" not in everything


def test_a_collector_that_is_away_costs_no_call(start: Callable[..., Server]) -> None:
    server = start(None, "--traces-to", "http://127.0.0.1:1", "--erasure", "files")

    with visual_memory.connect(server.address) as client:
        for _ in range(50):
            client.server_info()
        assert client.memories() is not None
    began = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - began < 10.0
    assert all(line.startswith("{") for line in server.last_log.splitlines() if line)


def test_what_is_no_url_is_refused(refusal_to_serve: Refuse) -> None:
    sentence = refusal_to_serve("--traces-to", "127.0.0.1:4317")

    assert 'traces_to must be a URL of http or https, but is "127.0.0.1:4317"' in sentence


def test_slow_calls_are_logged_with_what_they_did(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    (tmp_path / "server.toml").write_text("slow_seconds = 0.0\n")
    server = start(None, "--config", str(tmp_path / "server.toml"), "--erasure", "files")
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=4)
        memory.insert(vectors=np.eye(4), labels=["a", "b", "a", "b"])
        memory.classify(vectors=np.eye(4)[:1], k=1)
    server.end()

    (line,) = [
        line for line in server.last_log.splitlines() if '"slow"' in line and '"Classify"' in line
    ]
    assert '"parts": {' in line
    assert '"search"' in line
    assert '"principal": "local"' in line
