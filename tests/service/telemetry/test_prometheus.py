"""A real Prometheus takes the configuration, the rules and every query of the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.service.telemetry.test_metrics import CLASSIFY, Measured

import visual_memory

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
ALERTS = (DEPLOY / "alerts.yml").read_text()
PANELS = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
SECONDS = 60
pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)


class Prometheus:
    """A Prometheus that scrapes one server each second."""

    def __init__(self, folder: Path, target: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = "{}:{}".format(*free.getsockname())
        config = (DEPLOY / "prometheus.yml").read_text()
        config = config.replace("server:9100", target).replace("15s", "1s")
        (folder / "prometheus.yml").write_text(config)
        (folder / "alerts.yml").write_text(ALERTS)
        self._log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={self._address}",
            ],
            stderr=self._log,
            stdout=self._log,
        )

    def get(self, path: str, **query: str) -> Any:
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def value(self, query: str) -> float | None:
        """Return the one value of a query, None if there is none."""
        result = self.get("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    def until(self, true: Callable[[], object]) -> None:
        """Wait until something is true."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                if true():
                    return
            except OSError:  # it does not answer yet
                pass
            assert time.monotonic() < end, "Prometheus does not tell in time"
            time.sleep(0.2)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(SECONDS)
        self._log.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Measured, Prometheus]]:
    """A server, and the Prometheus that scrapes it."""
    folder = tmp_path_factory.mktemp("watched")
    server = Measured(folder / "data", "--erasure", "files")
    prometheus = Prometheus(folder, server.metrics)
    prometheus.until(lambda: prometheus.value('up{job="visual-memory"}') == 1)
    yield server, prometheus
    prometheus.close()
    assert server.end() == 0


def test_what_prometheus_tells_is_what_was_done(watched: tuple[Measured, Prometheus]) -> None:
    server, prometheus = watched
    count = f'grpc_server_call_duration_seconds_count{{grpc_method="{CLASSIFY}"}}'
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=8)
        memory.insert(vectors=np.eye(8), labels=list("abababab"), ids=list("12345678"))
        for _ in range(17):
            memory.classify(vectors=np.eye(8)[:1], k=3)
        memory.unlearn(ids=["3", "4"])

    prometheus.until(lambda: prometheus.value(f"sum({count})") == 17)
    prometheus.until(lambda: prometheus.value('visual_memory_entries{memory="pets"}') == 6)
    assert prometheus.value("visual_memory_erased_entries_total") == 2
    assert prometheus.value("sum(visual_memory_search_queries_sum)") == 17
    assert prometheus.value("visual_memory_memories") == 1


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_dashboard_is_answered(
    query: str, watched: tuple[Measured, Prometheus]
) -> None:
    _, prometheus = watched
    asked = query.replace("$__rate_interval", "1m")

    prometheus.get("query", query=asked)
    known = prometheus.get("metadata").keys()
    for metric in re.findall(r"\b(?:visual_memory|grpc|process)_\w+(?=\{)", asked):
        names = {metric, re.sub("_(bucket|count|sum|total)$", "", metric)}
        assert names & known, metric


def test_every_rule_is_taken_and_is_evaluated(watched: tuple[Measured, Prometheus]) -> None:
    _, prometheus = watched
    names = re.findall(r"alert: (\w+)", ALERTS)

    def rules() -> list[Any]:
        groups = prometheus.get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    prometheus.until(lambda: all(each["health"] == "ok" for each in rules()) and rules())
    assert [each["name"] for each in rules()] == names
    assert all(each["state"] != "firing" for each in rules())


def test_every_metric_of_the_rules_is_one_of_ours() -> None:
    page = (DEPLOY.parent / "docs/api/telemetry.md").read_text()
    for metric in re.findall(r"\b((?:visual_memory|grpc)_\w+)\{", ALERTS):
        assert metric.removesuffix("_count").removesuffix("_bucket") in page, metric


def test_a_server_that_has_gone_is_told(tmp_path: Path) -> None:
    server = Measured(tmp_path / "data", "--erasure", "files")
    prometheus = Prometheus(tmp_path, server.metrics)
    try:
        prometheus.until(lambda: prometheus.value('up{job="visual-memory"}') == 1)
        assert server.end() == 0
        prometheus.until(
            lambda: [
                each
                for each in prometheus.get("alerts")["alerts"]
                if each["labels"]["alertname"] == "VisualMemoryDown"
            ]
        )
    finally:
        prometheus.close()
