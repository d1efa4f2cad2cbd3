"""A server that is killed, and whose folder is lost, comes back from the backups of a script."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.api_keys import add
from tests.conftest import Server

import visual_memory

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = ROOT / "docs" / "production.md"
BINARIES = Path(sys.executable).parent


def run(script: str, *arguments: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script of ``deploy`` with the commands of this environment."""
    path = f"{BINARIES}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [ROOT / "deploy" / script, *arguments],
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


def ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def until_ended(process: int) -> None:
    end = time.monotonic() + 60
    while not ended(process):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.skipif(
    not (BINARIES / "visual-memory").exists(), reason="the command is not installed here"
)
def test_an_upgrade_and_the_way_back_nest_no_folders(tmp_path: Path) -> None:
    """The lines of docs/production.md that copy and move the data folder, done twice."""
    section = PRODUCTION.read_text().partition("## Upgrade, and back")[2]
    (upgrade,) = re.findall("^mkdir .*", section, re.MULTILINE)
    (back,) = re.findall("^mv .*", section, re.MULTILINE)
    data = tmp_path / "data"

    def run(line: str) -> int:
        return subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True).returncode

    def names() -> list[str]:
        return sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*"))

    data.mkdir(mode=0o700)
    (data / "old").touch()
    assert run(upgrade) == 0
    (data / "new").touch()
    copied = ["data", "data-before", "data-before/old", "data/new", "data/old"]
    assert names() == copied
    assert (tmp_path / "data-before").stat().st_mode == data.stat().st_mode
    assert run(upgrade) != 0
    assert names() == copied

    assert run(back) == 0
    moved = ["data", "data-newer", "data-newer/new", "data-newer/old", "data/old"]
    assert names() == moved
    assert run(back) != 0
    assert names() == moved


def test_a_lost_server_comes_back(tmp_path: Path) -> None:
    data, backups, fresh = (tmp_path / name for name in ("data", "backups", "new-data"))
    key = add(data, "maintainer", "admin")
    server = Server(data, "--erasure", "files")
    address = {"VISUAL_MEMORY_SERVER": server.address, "VISUAL_MEMORY_API_KEY": key}
    there = {"VISUAL_MEMORY_SERVE_LISTEN": server.address, "VISUAL_MEMORY_API_KEY": key}
    with visual_memory.connect(server.address, api_key=key) as client:
        for name in ("pets", "points"):
            rows = np.random.default_rng(len(name)).standard_normal((50, 8))
            client.create_memory(name, dimension=8).insert(
                vectors=rows, labels=["a", "b"] * 25, ids=[f"{at}" for at in range(50)]
            )
        certificate = client.memory("pets").unlearn(ids=["7"])
        digests = {each.name: each.digest for each in client.memories()}
    saved = run("backup-all.sh", data, backups, **address)
    assert (saved.returncode, saved.stderr) == (0, "")
    assert "no keys/signing.pem" in run("backup-all.sh", fresh, backups, **address).stderr
    other = Server(tmp_path / "other", "--erasure", "files")
    mixed = run("backup-all.sh", tmp_path / "other", tmp_path / "mixed", **address)
    other.end()
    assert mixed.returncode == 2
    assert f"{server.address} is not the one of {tmp_path / 'other'}" in mixed.stderr
    assert not (tmp_path / "mixed").exists()
    server.end(signal.SIGKILL)
    shutil.rmtree(data)

    keyless = run(
        "recover.sh", backups, tmp_path / "keyless", **there | {"VISUAL_MEMORY_API_KEY": ""}
    )
    assert keyless.returncode == 1
    assert "cannot be called" in keyless.stderr
    (backups / "points.vmb").rename(backups / "kept")
    partly = run("recover.sh", backups, tmp_path / "partly", **there)
    assert partly.returncode == 1
    assert "Not restored, while the new server runs with the others: points" in partly.stderr
    os.kill(int((tmp_path / "partly.pid").read_text()), signal.SIGTERM)
    (backups / "kept").rename(backups / "points.vmb")
    until_ended(int((tmp_path / "partly.pid").read_text()))
    until_ended(int((tmp_path / "keyless.pid").read_text()))

    log = Path(f"{fresh}.log")
    log.write_text("of a try before\n")
    recovered = run("recover.sh", backups, fresh, **there)

    assert recovered.returncode == 0, recovered.stderr
    assert "of a try before" not in log.read_text()
    process = int(Path(f"{fresh}.pid").read_text())
    try:
        with visual_memory.connect(server.address, api_key=key) as client:
            assert {each.name: each.digest for each in client.memories()} == digests
            assert "7" not in {each.id for each in client.memory("pets").entries()}
            assert certificate.public_key in client.server_info().public_keys
        again = run("recover.sh", backups, fresh, **there)
        assert (again.returncode, again.stderr) == (
            2,
            f"{fresh} is there already; name a new folder.\n",
        )
    finally:
        os.kill(process, signal.SIGTERM)
        until_ended(process)
