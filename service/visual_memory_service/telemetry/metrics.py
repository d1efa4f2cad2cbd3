"""Metrics: the measures of the process and the state of its memories, over HTTP for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    start_http_server,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from visual_memory_index.errors import MemoryRefusal
from visual_memory_index.records.measures import Counter, Histogram
from visual_memory_service.config import BadSetting, parse_address
from visual_memory_service.runtime.measures import CALLS_REFUSED, MEASURES, RESIDUES_FOUND
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Operations
from visual_memory_service.status import CODES
from visual_memory_service.wire.listener import address_problem

PLACES = ("files", "process")  # that unlearned entries are looked for in
Gauges = Callable[[], dict[str, tuple[str, float]]]  # by name: help, value


class Measured(Collector):
    """Collects all measures, and what memories and operations are at the moment.

    Memories that are closed are counted, and not opened to be looked at.
    """

    def __init__(
        self, memories: Memories, operations: Operations, gauges: Sequence[Gauges]
    ) -> None:
        self._memories, self._operations, self._gauges = memories, operations, gauges

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        for measure in MEASURES:
            yield from_counter(measure) if isinstance(measure, Counter) else from_histogram(measure)
        yield from self._of_memories()
        running = GaugeMetricFamily(
            "visual_memory_operations", "Operations that run, or wait to.", labels=["kind"]
        )
        for kind, count in self._operations.count_by_kind().items():
            running.add_metric([kind], count)
        yield running
        for gauges in self._gauges:
            for name, (help, value) in gauges().items():
                yield GaugeMetricFamily(name, help, value)

    def _of_memories(self) -> Iterator[Metric]:
        entries = GaugeMetricFamily(
            "visual_memory_entries", "Voting entries of an open memory.", labels=["memory"]
        )
        pruned = GaugeMetricFamily(
            "visual_memory_pruned_entries", "Its entries that do not vote.", labels=["memory"]
        )
        size = GaugeMetricFamily(
            "visual_memory_file_bytes", "Bytes of its file and write-ahead log.", labels=["memory"]
        )
        count = 0
        for served in self._memories.each_open():
            with suppress(MemoryRefusal):  # it was dropped meanwhile
                name, found = [served.memory.identity.name], served.memory.sizes()
                entries.add_metric(name, found.voting)
                pruned.add_metric(name, found.pruned)
                size.add_metric(name, found.file_bytes)
                count += 1
        yield from (entries, pruned, size)
        names = len(self._memories.names())
        yield GaugeMetricFamily("visual_memory_memories", "Memories of this server.", names)
        yield GaugeMetricFamily("visual_memory_open_memories", "Those that are open.", count)


def from_counter(measure: Counter) -> CounterMetricFamily:
    """Return a counter as Prometheus has it."""
    family = CounterMetricFamily(measure.name, measure.help, labels=measure.labels)
    for labels, value in measure.read().items():
        family.add_metric(labels, value)
    return family


def from_histogram(measure: Histogram) -> HistogramMetricFamily:
    """Return a histogram as Prometheus has it, whose buckets count all values below them."""
    family = HistogramMetricFamily(measure.name, measure.help, labels=measure.labels)
    bounds = [*map(floatToGoString, measure.bounds), "+Inf"]
    for labels, sample in measure.read().items():
        below, buckets = 0, list[tuple[str, float]]()
        for bound, count in zip(bounds, sample.counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(labels, buckets, sum_value=sample.sum)
    return family


class MetricsServer:
    """Serves what a collector collects, over HTTP, until closed. Raises BadSetting."""

    def __init__(self, listen: str, collector: Collector) -> None:
        for refusal in CODES:  # a series that begins with its first event shows no increase
            CALLS_REFUSED.add(0, refusal.__name__)
        for place in PLACES:
            RESIDUES_FOUND.add(0, place)
        registry = CollectorRegistry()
        for each in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR, collector):
            registry.register(each)
        host, port = parse_address(listen, "metrics_listen")
        try:
            self._server, self._thread = start_http_server(port, host.strip("[]"), registry)
        except OSError as problem:
            raise BadSetting(address_problem(listen, problem, "metrics_listen")) from None
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stop to serve."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
