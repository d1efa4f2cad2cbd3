"""The scripts of ``make bench`` run to their end, here on few rows: their figures mean nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "benchmarks" / "performance"
SMALL = {
    "erasure.py": "--rows 300 --rounds 2 --calls 5",
    "durability.py": "--rows 500 --writes 1 --deletions 1",
    "backup.py": "--rows 300 --seconds 0.01",
    "curation.py": "--rows 300",
    "ratios.py": "--rows 500",
    "disk.py": "--rows 2000 --audited 20 --work .",
    "unlearning.py": "--rows 2000 --many 20",
}
RUN = list(SMALL)[: None if "CI" in os.environ else 2]  # half a minute of processor time for all


@pytest.mark.parametrize("script", RUN)
def test_a_script_measures_to_its_end(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / script), *SMALL[script].split()]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode in (0, 1)  # 1: a goal is missed
    assert done.stderr == ""
    assert done.stdout.count("\n") >= 3
