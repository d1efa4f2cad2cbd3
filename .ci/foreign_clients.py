"""Programs of others against a running server: Triton's client classifies, schemathesis probes.

They live in an environment of their own, for Triton's client needs an older protobuf. Run it by
``make foreign``.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

import visual_memory

TRITON = Path(__file__).with_name("triton.py")
DIMENSION = 16
UNCHECKED = "positive_data_acceptance"  # which depends on the memory, such as its dimension
KNOWN = """
[parameters]
"path.memory" = ["pets"]
"path.name" = ["pets"]
"""


class Served(NamedTuple):
    """A running server: where gRPC and HTTP listen."""

    address: str
    web: str


@contextmanager
def served(data: Path) -> Iterator[Served]:
    """Context manager: a server of a new data folder."""
    command = [sys.executable, "-m", "visual_memory_service", "serve", "--data", str(data)]
    listen = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--erasure", "files"]
    with (data.parent / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, *listen], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline().split()[-1] for _ in range(2)]
        yield Served(*lines)
        assert process.poll() is None, "the server has ended"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


def classified_by_triton(server: Served, python: Path) -> bool:
    """Have Triton's client classify; tell if the answers are those of our client."""
    rows = np.random.default_rng(0).standard_normal((200, DIMENSION)).astype(np.float32)
    with visual_memory.connect(server.address) as client:
        memory = client.create_memory("pets", dimension=DIMENSION)
        memory.insert(vectors=rows, labels=[f"l{at % 5}" for at in range(200)])
        decisions = memory.classify(vectors=rows[:7], k=9)
    done = subprocess.run(
        [python, TRITON, server.address], input=json.dumps(rows[:7].tolist()), text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    expected = {
        "label": [each.label for each in decisions],
        "confidence": [each.confidence for each in decisions],
        "neighbor_ids": [[near.id for near in each.neighbors] for each in decisions],
        "distances": [[near.distance for near in each.neighbors] for each in decisions],
    }
    print("Triton's client:", "the same" if told == expected else f"{told} in place of {expected}")
    return bool(told == expected)


def probed(server: Served, binaries: Path, folder: Path, examples: int, seed: int) -> bool:
    """Have schemathesis probe calls about a memory that there is, then all.

    Return True if it finds nothing.
    """
    known, anything = folder / "known.toml", folder / "anything.toml"
    known.write_text(KNOWN)
    anything.write_text("")
    url = f"http://{server.web}/openapi.json"
    options = ["--checks", "all", "--exclude-checks", UNCHECKED, "--continue-on-failure"]
    more = ["--max-examples", str(examples), "--seed", str(seed), "--request-timeout", "60"]
    found = 0
    for config, calls in ((known, ["--exclude-operation-id", "DeleteMemory"]), (anything, [])):
        command = [binaries / "st", "--config-file", config, "--no-color", "run", url]
        found += subprocess.run([*command, *options, *more, *calls], cwd=folder).returncode
    return not found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", type=Path, required=True, help="of the other environment")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    binaries = options.binaries.absolute()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "data") as server:
        same = classified_by_triton(server, binaries / "python")
        clean = probed(server, binaries, Path(folder), options.examples, options.seed)
        log = (Path(folder) / "server.log").read_text()
    for line in log.splitlines():
        if '"error"' in line:
            print(line)
    return int(not same or not clean or '"error"' in log)


if __name__ == "__main__":
    raise SystemExit(main())
