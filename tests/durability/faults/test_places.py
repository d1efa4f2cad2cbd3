"""A server writes only into its data folder, even SQLite's temporary files."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Start
from tests.durability.power_loss.recording import need

import visual_memory

ERASED, STAYING, DIMENSION = 500, 4000, 768  # what stays does not fit into SQLite's cache
WRITTEN = re.compile(r'openat\([^\n]*?"([^"]*)", [^)\n]*(?:O_WRONLY|O_RDWR)')


def test_an_erasure_that_writes_the_file_anew_writes_into_the_data_folder_alone(
    tmp_path: Path, start: Start
) -> None:
    need("strace")
    data = tmp_path / "data"
    operation = delete_without_erasing(start, data)

    written = written_to(start, tmp_path, operation)

    of_sqlite = {path for path in written if path.name.startswith("etilqs")}
    assert {path.parent for path in of_sqlite} == {data / "unfinished"}
    assert {path for path in written if data not in path.parents} <= {Path("/dev/null")}


def delete_without_erasing(start: Start, data: Path) -> str:
    """Begin an erasure that an open reader keeps from ending; return its operation."""
    rows = np.random.default_rng(0).standard_normal((ERASED + STAYING, DIMENSION), np.float32)
    server = start()
    with visual_memory.connect(server.address) as client:
        pets = client.create_memory("pets", dimension=DIMENSION)
        ids = pets.insert(vectors=rows, labels=["cat"] * len(rows)).ids
        [file] = data.glob("memories/*.sqlite")
        with closing(sqlite3.connect(file)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM entries").fetchone()
            operation = pets.unlearn(ids[:ERASED], wait=False)
            while pets.info().count > STAYING:
                time.sleep(0.01)
            server.end()
    return operation.name


def written_to(start: Start, folder: Path, operation: str) -> set[Path]:
    """Start a server, wait for an operation, and return the files opened for writing."""
    log, python = folder / "log", folder / "python"
    strace = f"strace -D -f -e trace=openat -e signal=none -o {log}"
    python.write_text(f'#!/bin/sh\nexec {strace} {sys.executable} "$@"\n')
    python.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(python))
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # or Python writes to its own folders
        server = start()
    with visual_memory.connect(server.address) as client:
        assert client.wait(operation).state == "done"
    server.end()
    return {Path(path) for path in WRITTEN.findall(log.read_text(errors="replace"))}
