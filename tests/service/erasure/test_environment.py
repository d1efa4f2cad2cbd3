"""A serving process leaves no residue in RAM; it restarts itself for that, before it loads all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import SECONDS, Server, Start

from visual_memory_service.erasure.environment import (
    OTHERS,
    OVERWRITING,
    RUN_AGAIN,
    TUNABLES,
    run_with_environment,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's environment is meant")


IN_VAIN = (
    "{} was run again with settings of its environment, as unlearning from RAM needs it, but they "
    "have no effect: run it without -E and -I, without setuid and capabilities of its own, with a "
    "GLIBC_TUNABLES that glibc can read, and with glibc's malloc (no LD_PRELOAD of another); or "
    "serve with --erasure files."
)
FREED = (
    "import os\n"
    "from visual_memory_index import ResiduePatterns\n"
    "from visual_memory_service.erasure.environment import run_with_environment\n"
    "from visual_memory_service.erasure.process_memory import search\n"
    "run_with_environment()\n"
    "texts = [f'person-{number:024}' for number in range(2000)]\n"
    "patterns = ResiduePatterns(texts)\n"
    "held = len(search(patterns).found)\n"
    "del texts\n"
    "print(patterns.count, held, len(search(patterns).found), 'AGAIN' in str(os.environ))\n"
)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the settings out of the environment of these tests, in which some may be."""
    for name in (TUNABLES, *OTHERS, RUN_AGAIN):
        monkeypatch.delenv(name, raising=False)


def environment_of(server: Server) -> dict[str, str]:
    """Return the environment that the process of a server began with."""
    variables = Path(f"/proc/{server.process.pid}/environ").read_text().split("\0")
    return {name: value for name, _, value in (each.partition("=") for each in variables)}


def run(*program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {TUNABLES: OVERWRITING},
        {TUNABLES: f"{OVERWRITING}:glibc.malloc.perturb=0", **OTHERS},
        {TUNABLES: "glibc.malloc.arena_max=2", "PYTHONMALLOC": "debug", "LD_BIND_NOW": ""},
        {TUNABLES: OVERWRITING, **OTHERS, RUN_AGAIN: "1"},
    ],
    ids=["bare", "set", "changed again", "others", "of a server"],
)
def test_what_python_frees_is_overwritten_at_once_in_the_process_that_serves(
    environment: dict[str, str],
) -> None:
    assert run("-c", FREED, **environment).stdout == "2000 2000 0 False\n"


@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        (["-E"], {}),
        (["-I"], {}),
        (["-E"], {TUNABLES: OVERWRITING, **OTHERS}),
        ([], {TUNABLES: "glibc.malloc.perturb=3=4"}),
    ],
    ids=["no environment", "isolated", "no environment, though set", "not read"],
)
def test_settings_without_effect_are_refused(flags: list[str], environment: dict[str, str]) -> None:
    ran = run(*flags, "-c", FREED, **environment)

    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == IN_VAIN.format(sys.executable)  # glibc warns, too
    assert ran.stdout == ""


@pytest.mark.parametrize("how", ["exec ", ""], ids=["executed", "started"])
@pytest.mark.parametrize("name", [TUNABLES, *OTHERS])
def test_a_program_whose_settings_are_taken_away_is_run_again_but_once(
    tmp_path: Path, name: str, how: str
) -> None:
    """As glibc does it with some where a program is setuid or has capabilities."""
    wrapper, runs = tmp_path / "python", tmp_path / "runs"
    wrapper.write_text(f'#!/bin/sh\necho run >> {runs}\nunset {name}\n{how}{sys.executable} "$@"\n')
    wrapper.chmod(0o755)

    ran = run("-c", f"import sys\nsys.executable = {str(wrapper)!r}\n{FREED}")

    assert ran.stderr == IN_VAIN.format(wrapper) + "\n"
    assert runs.read_text() == "run\n"


def test_a_program_that_may_not_be_run_again_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/dev/null")

    with pytest.raises(SystemExit) as refused:
        run_with_environment()

    assert refused.value.code == (
        "/dev/null cannot be run again, as unlearning from RAM needs it (Permission denied); let "
        "the server run it, or serve with --erasure files."
    )


@pytest.mark.parametrize("given", [None, "glibc.malloc.arena_max=2"], ids=["bare", "others"])
def test_the_command_serves_with_it_beside_other_settings_of_glibc(
    start: Start, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    if given is not None:
        monkeypatch.setenv(TUNABLES, given)

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
