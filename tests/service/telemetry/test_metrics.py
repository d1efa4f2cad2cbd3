"""What a scrape says is what was done, number for number."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.authorities import Authority
from tests.conftest import Server, to_picture
from tests.service.telemetry.conftest import Refuse

import visual_memory
from visual_memory import Client
from visual_memory_service.runtime.measures import MEASURES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api" / "telemetry.md"
DIMENSION = 64
CLASSIFY = "visual_memory.v1.VisualMemory/Classify"


class Measured(Server):
    """A server that serves metrics."""

    def start(self, *flags: str) -> None:
        super().start("--metrics-listen", "127.0.0.1:0", *flags)
        assert self.process.stdout is not None
        self.metrics = self.process.stdout.readline().removeprefix("metrics on ").strip()

    def scrape(self) -> dict[str, float]:
        """Return the value of each sample, by its name and labels."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(
                    f"{name}={value}" for name, value in sorted(sample.labels.items())
                )
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    server = Measured(tmp_path_factory.mktemp("metrics") / "data", "--erasure", "files")
    yield server
    assert server.end() == 0


def test_counts_are_those_of_what_was_done(server: Measured, client: Client) -> None:
    rows = np.random.default_rng(0).standard_normal((100, DIMENSION))
    first = client.create_memory("first", dimension=DIMENSION)  # with it loops are checked
    first.insert(vectors=rows[:2], labels=["a", "b"])
    first.classify(vectors=rows[:1], k=1)
    memory = client.create_memory("pets", dimension=DIMENSION)
    before = server.scrape()
    memory.insert(vectors=rows, labels=["a", "b"] * 50, ids=[f"{at}" for at in range(100)])
    for count in (1, 1, 3):
        memory.classify(vectors=rows[:count], k=5)
    with pytest.raises(visual_memory.InvalidArgument):
        memory.classify(vectors=rows[:1, :5], k=5)
    asked = server.scrape()
    memory.prune(method="ids", ids=["0", "1"], apply=True)
    memory.delete(ids=["2"])
    certificate = memory.unlearn(ids=["3", "4", "5"])
    after = server.scrape()

    def grew(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    call = f"grpc_method={CLASSIFY},grpc_status="
    assert certificate.count == 3
    assert grew(f"grpc_server_call_started_total{{grpc_method={CLASSIFY}}}") == 4
    assert grew(f"grpc_server_call_duration_seconds_count{{{call}OK}}") == 3
    assert grew(f"grpc_server_call_duration_seconds_count{{{call}INVALID_ARGUMENT}}") == 1
    assert grew(f"grpc_server_call_duration_seconds_bucket{{{call}OK,le=+Inf}}") == 3
    assert grew("visual_memory_calls_refused_total{reason=WrongDimension}") == 1
    assert grew("visual_memory_search_queries_sum") == 5
    assert grew("visual_memory_search_queries_count") == 3
    assert grew("visual_memory_search_wait_seconds_count") == 3
    scanned = "visual_memory_scanned_rows_total"
    assert asked[scanned] - before[scanned] == 5 * 100
    assert grew("visual_memory_measured_rows_total") >= 5 * 5
    assert grew("visual_memory_operations_ended_total{kind=unlearn,state=done}") == 1
    assert grew("visual_memory_operations_ended_total{kind=prune,state=done}") == 1
    assert grew("visual_memory_erased_entries_total") == 3
    assert grew("visual_memory_commit_writes_sum") >= 5
    assert after["visual_memory_entries{memory=pets}"] == 94
    assert after["visual_memory_pruned_entries{memory=pets}"] == 2
    names = len(list(client.memories()))
    assert after["visual_memory_memories"] == after["visual_memory_open_memories"] == names
    files = [*(server.data / "memories").glob("pets.*.sqlite*")]
    sizes = sum(each.stat().st_size for each in files if not each.name.endswith("-shm"))
    assert after["visual_memory_file_bytes{memory=pets}"] == sizes
    assert after["visual_memory_calls"] == 0


def test_pictures_are_counted(server: Measured, client: Client) -> None:
    album = client.create_memory("album", embedder="efficientnet-lite0")
    before = server.scrape()
    album.insert(images=[to_picture(at) for at in range(3)], labels=["x", "y", "z"])
    album.classify(images=[to_picture(9)], k=1)
    after = server.scrape()

    name = "visual_memory_embedded_pictures_total"
    assert after[name] - before[name] == 4
    count = "visual_memory_embed_seconds_count"
    assert after[count] - before[count] >= 2


def test_every_sample_of_a_histogram_fits_its_count(server: Measured, client: Client) -> None:
    client.server_info()
    found = server.scrape()
    counts = {name: value for name, value in found.items() if "_count" in name}

    for name, value in counts.items():
        base, _, labels = name.partition("_count")
        inner = labels.strip("{}")
        above = ",".join(sorted([*inner.split(","), "le=+Inf"] if inner else ["le=+Inf"]))
        assert found[f"{base}_bucket{{{above}}}"] == value


def test_every_metric_is_in_the_documents(server: Measured, client: Client) -> None:
    client.create_memory("documented", dimension=4)
    ours = {
        name.partition("{")[0].removesuffix("_count").removesuffix("_sum").removesuffix("_bucket")
        for name in server.scrape()
        if name.startswith(("visual_memory_", "grpc_"))
    }
    ours |= {measure.name for measure in MEASURES} | {"visual_memory_operations"}
    ours.add("visual_memory_certificate_end_timestamp_seconds")  # with TLS, see below
    documented = set(re.findall(r"`((?:visual_memory|grpc)_[a-z_]+)`", PAGE.read_text()))

    assert ours == documented - {"grpc_method", "grpc_status"}


def test_the_end_of_the_certificate_is_told(tmp_path: Path) -> None:
    pair = Authority(tmp_path, "ours").issue("server", days=3)
    flags = ("--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key))
    server = Measured(tmp_path / "data", "--erasure", "files", *flags)
    end = server.scrape()["visual_memory_certificate_end_timestamp_seconds"]

    assert 2.9 < (end - time.time()) / 86_400 <= 3.1
    assert server.end() == 0


def test_an_address_that_is_taken_is_refused_before_anything_is_served(
    refusal_to_serve: Refuse,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        sentence = refusal_to_serve("--metrics-listen", address)

    assert sentence.startswith(f"{address} cannot be listened on; is another program using")
    assert sentence.endswith("choose another with --metrics-listen.\n")


@pytest.mark.parametrize("address", ["here", "127.0.0.1", "127.0.0.1:99999", ":1"])
def test_what_is_no_address_is_refused(address: str, refusal_to_serve: Refuse) -> None:
    sentence = refusal_to_serve("--metrics-listen", address)

    assert "metrics_listen must be HOST:PORT" in sentence


def test_without_the_extra_the_server_says_what_to_install(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: (\n"
        "    None if name == 'prometheus_client' else find(name, *more)\n"
        ")\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "visual_memory_service",
            "serve",
            "--data",
            tmp_path / "data",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            "--erasure",
            "files",
        ],
        env={**os.environ, "PYTHONPATH": f"{hidden}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert "pip install -e '.[telemetry]'" in done.stderr
