"""Measure everything in docs/results.md: a server, its memories, all runs and experiments.

It may be killed: the same command resumes, without repeating answered questions.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from served import ENDS_WITH_PARENT, served

import visual_memory
from visual_memory_benchmarks.trials.datasets import DATASETS

EMBEDDERS = {"lite0": (1, 10, 50), "lite1": (10,), "lite2": (10,)}
"""Memories of natural16, and the numbers of neighbours that each is asked with."""
SETS = ("cue-conflict", "edge", "silhouette")
KEPT = {"experiments": ("*.json",), **dict.fromkeys(DATASETS, ("*.csv", "*.record.json"))}
"""The files of each folder that the page is made from, and their records."""
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="with natural16 and the others")
    parser.add_argument("--work", type=Path, required=True, help="where all of it lies meanwhile")
    parser.add_argument("--results", type=Path, required=True, help="where the small files end")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends, too
    began = time.monotonic()
    out = options.work / "out"
    with served(options.work / "server") as server:
        fill(server.address, options.data / "natural16")
        failed = sum(
            call("visual_memory_benchmarks", *command, "--server", server.address) != 0
            for command in commands(options.data, out)
        )
        server_peak = server.memory_bytes("VmHWM")
    keep(out, options.results)
    clients_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(
        f"{time.monotonic() - began:.0f} s; peak memory {server_peak / MIB:.0f} MiB of the server, "
        f"{1024 * clients_peak / MIB:.0f} MiB of the largest process."
    )
    if failed:
        sys.exit(f"{failed} of the commands above were refused, for the reasons they gave.")


def fill(address: str, pictures: Path) -> None:
    """Create a memory for each of EMBEDDERS, unless it exists, and insert the pictures.

    Other memories are left over from killed experiments, and are deleted.
    """
    with visual_memory.connect(address) as client:
        for info in client.memories():
            if info.name not in EMBEDDERS:
                client.delete_memory(info.name)
        for name in EMBEDDERS:
            with suppress(visual_memory.AlreadyExists):
                client.create_memory(name, embedder=f"efficientnet-{name}")
    for name in EMBEDDERS:
        if call("visual_memory_service", "insert", name, str(pictures), "--server", address):
            sys.exit(1)


def commands(data: Path, out: Path) -> Iterator[list[str]]:
    """Yield the arguments of each visual-memory-bench command to run."""
    where = ["--data", str(data), "--out", str(out)]
    for memory, ks in EMBEDDERS.items():
        for k in ks:
            yield ["run", *SETS, "--memory", memory, "--k", str(k), *where]
    yield ["experiment", "all", *where]


def call(module: str, *arguments: str) -> int:
    """Run a Python module as a command; return its exit code."""
    print(f"$ python -m {module} {' '.join(arguments)}", file=sys.stderr, flush=True)
    command = [*ENDS_WITH_PARENT, sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    return subprocess.run(command, env=environment).returncode


def keep(out: Path, results: Path) -> None:
    """Copy the files that docs/results.md is made from to ``results``, as KEPT names them."""
    for name, patterns in KEPT.items():
        for path in (found for pattern in patterns for found in sorted((out / name).glob(pattern))):
            (results / name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, results / name / path.name)


if __name__ == "__main__":
    main()
