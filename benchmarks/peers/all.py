"""Measure this service and its peers, one after another, and keep what was measured.

What is in the file of results is not measured again, so that a run goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from engines import ENGINES, Arrays, Engine

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "peers.json"
SIZES = ((100_000, 768), (10_000, 768), (100_000, 384), (100_000, 1280), (1_000_000, 768))
HOURS_MAX = 1.0
COLLECTIONS = 1000
BATCHES_TRACED = (20, 60)
MEASURE = (sys.executable, str(HERE / "one.py"))


def processor() -> str:
    """Return the name of the processor, with what its instructions say of it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    by_name = {name.strip(): value.strip() for name, value in fields.items()}
    extra = [flag for flag in ("avx512_vnni", "avx2") if flag in by_name["flags"].split()]
    return f"{by_name['model name']} ({extra[0] if extra else 'no AVX2'}), {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--rows-max", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each workload")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="also what is in the results")
    flags = parser.parse_args()
    kept = json.loads(flags.results.read_text()) if flags.results.exists() else {}
    failed = []
    for name in flags.engines:
        kind = ENGINES[name]
        works = [
            (f"{name} {rows} {dimension}", ["--rows", str(rows), "--dimension", str(dimension)])
            for rows, dimension in SIZES
            if rows <= min(flags.rows_max, kind.rows_max)
        ]
        if not issubclass(kind, Arrays):
            works.append((f"{name} small", ["--small", str(COLLECTIONS)]))
        for key, options in works:
            if key in kept and not flags.again:
                continue
            print(f"{datetime.now(UTC):%H:%M} {key}", flush=True)
            found = measure(name, [*options, "--seconds", str(flags.seconds)])
            if found is None:
                failed.append(key)
                continue
            kept[key] = found
            if "inserts" in found and kind.durable != Engine.durable:
                kept[key]["syncs"] = syncs_of_a_batch(name)
            flags.results.write_text(json.dumps(kept, indent=1) + "\n")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


@contextmanager
def new_folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        os.chmod(folder, 0o755)  # for servers that run as another user
        yield folder


def measure(name: str, options: Sequence[str]) -> dict[str, object] | None:
    """Measure one engine in a process and a folder of its own; return None if it fails."""
    with new_folder() as folder:
        try:
            ran = subprocess.run(
                [*MEASURE, name, "--folder", folder, *options],
                stdout=subprocess.PIPE,
                text=True,
                timeout=3600 * HOURS_MAX,
            )
        except subprocess.TimeoutExpired:
            return None
    print(ran.stdout, end="", flush=True)
    if ran.returncode:
        return None
    found: dict[str, object] = json.loads(ran.stdout.splitlines()[-1])
    measured = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "processor": processor()}
    return {**found, **measured, "python": platform.python_version()}


def syncs_of_a_batch(name: str) -> float:
    """Return how often files are synced for each batch of an insertion, as strace counts."""
    counts = []
    for batches in BATCHES_TRACED:
        with new_folder() as folder:
            log = Path(folder) / "strace"
            traced = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,msync", "-o", str(log)]
            options = ["--folder", folder, "--batches", str(batches)]
            subprocess.run(
                [*traced, *MEASURE, name, *options], check=True, stdout=subprocess.DEVNULL
            )
            counts.append(sum("sync(" in line for line in log.read_text().splitlines()))
    few, many = BATCHES_TRACED
    return (counts[1] - counts[0]) / (many - few)


if __name__ == "__main__":
    main()
