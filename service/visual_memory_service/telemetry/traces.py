"""Traces: a span of each call that has ended, with its parts, sent to a collector by OTLP.

The sampler is that of OTEL_TRACES_SAMPLER, by default that of the caller, else all. Spans have
names of calls and callers, times and numbers, and nothing of entries.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.status import StatusCode as SpanStatus

import visual_memory
from visual_memory_service.runtime.timeline import Batch, Ended, Part
from visual_memory_service.status import code_number

SERVER_FAULTS = frozenset(
    {"DATA_LOSS", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNIMPLEMENTED", "UNKNOWN"}
)
WAITING_MAX = 1000  # calls whose spans are not made yet
CLOSE_SECONDS = 2.0
log = structlog.get_logger()


class Traces:
    """Makes spans of calls that have ended, and exports them in a thread of its own."""

    def __init__(self, exporter: SpanExporter) -> None:
        resource = Resource.create(
            {"service.name": "visual-memory", "service.version": visual_memory.__version__}
        )
        quiet()
        self._ended: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("visual_memory")
        self._propagator = TraceContextTextMapPropagator()
        self._thread = threading.Thread(target=self._make, name="traces", daemon=True)
        self._thread.start()

    @classmethod
    def to(cls, endpoint: str) -> Traces:
        """Export to an OTLP endpoint, such as http://127.0.0.1:4317; https is with TLS."""
        return cls(OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http:")))

    def add(self, call: Ended) -> None:
        """Have the spans of a call made, in the thread."""
        if self._ended.qsize() < WAITING_MAX:
            self._ended.put(call)

    def _make(self) -> None:
        while (call := self._ended.get()) is not None:
            self._spans(call)

    def _spans(self, call: Ended) -> None:
        since = time.time() - time.monotonic()
        carrier = {name: value for name, value in call.metadata if isinstance(value, str)}
        service, _, method = call.full_name.partition("/")
        span = self._tracer.start_span(
            call.full_name,
            self._propagator.extract(carrier, Context()),
            SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "rpc.grpc.status_code": code_number(call.status),
                "enduser.id": call.principal,
            },
            start_time=nanoseconds(call.began + since),
        )
        if span.is_recording():
            inside = set_span_in_context(span, Context())
            for part in call.timeline.parts:
                self._add_part(part, inside, since)
        if call.status in SERVER_FAULTS:
            span.set_status(SpanStatus.ERROR)
        span.end(nanoseconds(call.ended + since))

    def _add_part(self, part: Part, inside: Context, since: float) -> None:
        links, attributes = [], dict[str, int]()
        if part.batch is not None:
            links, attributes = [self._batch(part.batch, since)], {"queries": part.batch.queries}
        child = self._tracer.start_span(
            part.name,
            inside,
            attributes=attributes,
            links=links,
            start_time=nanoseconds(part.began + since),
        )
        child.end(nanoseconds(part.ended + since))

    def _batch(self, batch: Batch, since: float) -> Link:
        """Return a link to the span of a batch, which the first of its calls makes."""
        if batch.span is None:
            span = self._tracer.start_span(
                "search batch",
                Context(),
                attributes={"queries": batch.queries},
                start_time=nanoseconds(batch.began + since),
            )
            span.end(nanoseconds(batch.ended + since))
            batch.span = span.get_span_context()
        found: Any = batch.span
        return Link(found)

    def close(self) -> None:
        """Export what is left, for some seconds, and stop."""
        self._ended.put(None)
        self._thread.join()
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(CLOSE_SECONDS)


class ToLog(logging.Handler):
    """Writes what OpenTelemetry has to say into the log of the server."""

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("traces", problem=record.getMessage())


def quiet() -> None:
    """Have OpenTelemetry write to the log of the server alone."""
    theirs = logging.getLogger("opentelemetry")
    theirs.handlers, theirs.propagate = [ToLog()], False


def nanoseconds(seconds: float) -> int:
    """Return a time of ``time.time`` in nanoseconds."""
    return int(seconds * 1e9)
