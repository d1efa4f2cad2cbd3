"""A serving process leaves no residue in RAM; it restarts itself for that, before it loads all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Server, Start

from visual_memory_service.erasure.environment import (
    OTHERS,
    OVERWRITING,
    TUNABLES,
    run_with_environment,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's environment is meant")


@pytest.mark.parametrize("environment", [{}, {TUNABLES: OVERWRITING}], ids=["bare", "set"])
def test_what_python_frees_is_overwritten_at_once_in_the_process_that_serves(
    environment: dict[str, str],
) -> None:
    script = (
        "from visual_memory_index import ResiduePatterns\n"
        "from visual_memory_service.erasure.environment import run_with_environment\n"
        "from visual_memory_service.erasure.process_memory import search\n"
        "run_with_environment()\n"
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
        run_with_environment()

    assert refused.value.code == (
        "/dev/null cannot be run again, as unlearning from RAM needs it (Permission denied); let "
        "the server run it, or serve with --erasure files."
    )


def test_the_command_serves_with_it(server: Server) -> None:
    found = environment_of(server)

    assert found[TUNABLES] == OVERWRITING
    assert OTHERS.items() <= found.items()


def environment_of(server: Server) -> dict[str, str]:
    """Return the environment that the process of a server began with."""
    variables = Path(f"/proc/{server.process.pid}/environ").read_text().split("\0")
    return {name: value for name, _, value in (each.partition("=") for each in variables)}


@pytest.mark.parametrize("given", [None, "glibc.malloc.arena_max=2"], ids=["bare", "others"])
def test_it_is_set_once_beside_other_settings_of_glibc(
    start: Start, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.delenv("LD_BIND_NOW", raising=False)
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    monkeypatch.setenv(TUNABLES, ":".join(filter(None, (given, OVERWRITING))))

    found = environment_of(start())

    assert found[TUNABLES] == ":".join(filter(None, (given, OVERWRITING)))
    assert OTHERS.items() <= found.items()


@pytest.mark.parametrize("where", ["flag", "file"])
def test_a_server_that_erases_from_files_alone_keeps_the_environment_as_it_is(
    start: Start, tmp_path: Path, where: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('erasure = "files"\n')
    flags = {"flag": ("--erasure", "files"), "file": ("--config", str(file))}[where]

    server = start(None, *flags)

    assert not {TUNABLES, *OTHERS} & environment_of(server).keys()


def test_nothing_is_loaded_twice_for_it(tmp_path: Path) -> None:
    serve = ["-X", "importtime", "-m", "visual_memory_service", "serve", "--listen", "nowhere"]

    ran = subprocess.run(
        [sys.executable, *serve, "--data", str(tmp_path)], stderr=subprocess.PIPE, text=True
    )

    loaded = [line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()]
    assert loaded.count("visual_memory_service.erasure.environment") == 2
    assert loaded.count("visual_memory_service.config") == 1
    assert loaded.count("visual_memory_service.cli") == 1
