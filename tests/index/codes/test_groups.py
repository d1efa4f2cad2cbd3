"""Every kind of instruction computes the same sums and bounds, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import llvmlite.binding
import pytest

ROOT = Path(__file__).resolve().parents[3]
AVX512, AVX2 = ("avx512f", "avx512vnni"), ("avx2", "fma", "sse4.2")
NEEDED = {"avx512": AVX512, "avx2": AVX2, "serial": ()}
SETTINGS = {
    "as the processor": {},
    "avx512": {
        "NUMBA_CPU_NAME": "icelake-server",
        "NUMBA_CPU_FEATURES": ",".join(f"+{each}" for each in (*AVX512, "avx512bw", *AVX2)),
    },
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": ",".join(f"+{each}" for each in AVX2),
    },
    "serial": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "serial without a name": {"NUMBA_CPU_FEATURES": "-avx2,-avx512f"},
    "serial without AVX": {"NUMBA_ENABLE_AVX": "0"},
}


def run(settings: dict[str, str], *command: str) -> list[str]:
    """Run Python under settings of Numba, and return the words that it prints."""
    clean = {name: value for name, value in os.environ.items() if "NUMBA_" not in name}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=clean | settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def require(instructions: str) -> None:
    """Skip the test if the processor lacks the instructions."""
    own = llvmlite.binding.get_host_cpu_features()
    missing = [each for each in NEEDED[instructions] if not own.get(each)]
    if missing:
        pytest.skip(f"the processor has no {', '.join(missing)}")


@cache
def computed(instructions: str) -> tuple[str, str]:
    """Return which instructions were used, and the hash of all sums and bounds."""
    used, found = run(SETTINGS[instructions], "-m", "tests.index.codes.group_sums")
    return used, found


@pytest.mark.parametrize("instructions", NEEDED)
def test_sums_and_bounds_are_those_of_numpy(instructions: str) -> None:
    require(instructions)

    assert computed(instructions) == (instructions, computed("serial")[1])


@pytest.mark.parametrize("settings", SETTINGS)
def test_instructions_are_the_best_that_numba_may_use(settings: str) -> None:
    own = llvmlite.binding.get_host_cpu_features()
    best = next(name for name, needed in NEEDED.items() if all(map(own.get, needed)))
    wanted = best if settings == "as the processor" else settings.split()[0]
    require(wanted)

    (used,) = run(
        SETTINGS[settings],
        "-c",
        "from visual_memory_index.codes import groups; print(groups.INSTRUCTIONS)",
    )

    assert used == wanted
