"""Measure this service and its peers, one after another, and keep what was measured.

What is in the file of results is not measured again, so that a run goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from engines import ENGINES

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "peers.json"
SIZES = ((100_000, 768), (10_000, 768), (100_000, 384), (100_000, 1280), (1_000_000, 768))
BASE = "100000 768"
HOURS_MAX = 1.0
COLLECTIONS = 1000
BATCHES_TRACED = (20, 60)
MEASURE = (sys.executable, str(HERE / "one.py"))


def machine() -> str:
    """Return the processor, with what its instructions say of it, and the RAM."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    by_name = {name.strip(): value.strip() for name, value in fields.items()}
    extra = [flag for flag in ("avx512_vnni", "avx2") if flag in by_name["flags"].split()]
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    instructions = extra[0] if extra else "no AVX2"
    return f"{by_name['model name']} ({instructions}), {os.cpu_count()} cores, {ram:.0f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--rows-max", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each workload")
    parser.add_argument("--rounds", type=int, default=2, help=f"of {BASE}, one after another")
    parser.add_argument("--results", type=Path, default=RESULTS)
    flags = parser.parse_args()
    setting = {"machine": machine(), "seconds": flags.seconds, "python": platform.python_version()}
    kept = json.loads(flags.results.read_text()) if flags.results.exists() else {}
    works = [
        (name, f"{rows} {dimension}", ["--rows", str(rows), "--dimension", str(dimension)], number)
        for rows, dimension in SIZES
        if rows <= flags.rows_max
        for number in range(flags.rounds if f"{rows} {dimension}" == BASE else 1)
        for name in flags.engines
    ]
    works += [
        (name, "small", ["--small", str(COLLECTIONS)], 0)
        for name in flags.engines
        if ENGINES[name].collections
    ]
    failed = []
    for name, size, options, number in works:
        key = f"{name} {size}"
        runs = [each for each in kept.get(key, ()) if setting.items() <= each.items()]
        if len(runs) > number:
            continue
        print(f"{datetime.now(UTC):%H:%M} {key}", flush=True)
        found = measure(name, [*options, "--seconds", str(flags.seconds)])
        if found is None:
            failed.append(key)
            continue
        if size == BASE and not number and not ENGINES[name].in_ram:
            found["syncs"] = syncs_of_a_batch(name)
            if found["syncs"] is None:
                failed.append(f"strace of {name}")
        found |= {"time": f"{datetime.now(UTC):%F %H:%M}", "commit": commit()}
        kept[key] = [*runs, found | setting]
        flags.results.write_text(json.dumps(kept, indent=1) + "\n")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def commit() -> str:
    """Return the commit that is checked out."""
    shown = ["git", "-C", str(HERE), "rev-parse", "--short=8", "HEAD"]
    return subprocess.run(shown, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@contextmanager
def new_folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        os.chmod(folder, 0o755)  # for servers that run as another user
        yield folder


def measure(name: str, options: Sequence[str]) -> dict[str, object] | None:
    """Measure one engine in a process and a folder of its own; return None if it fails."""
    with new_folder() as folder:
        lines = run([*MEASURE, name, "--folder", folder, *options], 3600 * HOURS_MAX)
    print(*lines or (), sep="\n", flush=True)
    found: dict[str, object] | None = json.loads(lines[-1]) if lines else None
    return found


def syncs_of_a_batch(name: str) -> float | None:
    """Return how often files are synced for each batch of an insertion, as strace counts."""
    counts = []
    for batches in BATCHES_TRACED:
        with new_folder() as folder:
            log = Path(folder) / "strace"
            traced = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,msync", "-o", str(log)]
            options = ["--folder", folder, "--batches", str(batches)]
            if run([*traced, *MEASURE, name, *options], 3600 * HOURS_MAX) is None:
                return None
            counts.append(sum("sync(" in line for line in log.read_text().splitlines()))
    few, many = BATCHES_TRACED
    return (counts[1] - counts[0]) / (many - few)


def run(command: Sequence[str], seconds: float) -> list[str] | None:
    """Return the lines that a program prints, or None if it fails or takes longer.

    What it started ends with it.
    """
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        printed, _ = program.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
    return None if program.returncode else printed.splitlines()


if __name__ == "__main__":
    main()
