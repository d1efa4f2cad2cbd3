"""A serving process overwrites freed memory; it restarts itself for that, before it loads all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Server, Start

from visual_memory_service.erasure.allocator import (
    ALLOCATOR,
    TUNABLES,
    WIPING,
    overwrite_freed_memory,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is meant")


@pytest.mark.parametrize("environment", [{}, {TUNABLES: WIPING}], ids=["bare", "set"])
def test_what_python_frees_is_overwritten_at_once_in_the_process_that_serves(
    environment: dict[str, str],
) -> None:
    script = (
        "from visual_memory_index import ResiduePatterns\n"
        "from visual_memory_service.erasure.allocator import overwrite_freed_memory\n"
        "from visual_memory_service.erasure.process_memory import search\n"
        "overwrite_freed_memory()\n"
        "texts = [f'person-{number:024}' for number in range(2000)]\n"
        "patterns = ResiduePatterns(texts)\n"
        "held = len(search(patterns).found)\n"
        "del texts\n"
        "print(patterns.count, held, len(search(patterns).found))\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout == "2000 2000 0\n"


def test_a_program_that_may_not_be_run_again_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/dev/null")
    monkeypatch.delenv(TUNABLES, raising=False)

    with pytest.raises(SystemExit) as refused:
        overwrite_freed_memory()

    assert refused.value.code == (
        "/dev/null cannot be run again, as unlearning from RAM needs it (Permission denied); let "
        "the server run it, or serve with --erasure files."
    )


def test_the_command_serves_with_it(server: Server) -> None:
    found = Path(f"/proc/{server.process.pid}/environ").read_bytes().split(b"\0")

    assert {f"{TUNABLES}={WIPING}".encode(), f"{ALLOCATOR}=malloc".encode()} <= set(found)


@pytest.mark.parametrize("where", ["flag", "file"])
def test_a_server_that_erases_from_files_alone_keeps_the_allocator_as_it_is(
    start: Start, tmp_path: Path, where: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('erasure = "files"\n')
    flags = {"flag": ("--erasure", "files"), "file": ("--config", str(file))}[where]

    server = start(None, *flags)

    found = Path(f"/proc/{server.process.pid}/environ").read_bytes()
    assert WIPING.encode() not in found
    assert f"{ALLOCATOR}=malloc".encode() not in found


def test_nothing_is_loaded_twice_for_it(tmp_path: Path) -> None:
    serve = ["-X", "importtime", "-m", "visual_memory_service", "serve", "--listen", "nowhere"]

    ran = subprocess.run(
        [sys.executable, *serve, "--data", str(tmp_path)], stderr=subprocess.PIPE, text=True
    )

    loaded = [line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()]
    assert loaded.count("visual_memory_service.erasure.allocator") == 2
    assert loaded.count("visual_memory_service.config") == 1
    assert loaded.count("visual_memory_service.cli") == 1
