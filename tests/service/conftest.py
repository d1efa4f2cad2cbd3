"""A client of the shared server, and commands as a person gives them."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Server, as_command

import visual_memory
from visual_memory import Client
from visual_memory.terminal import progress
from visual_memory_service.__main__ import main
from visual_memory_service.commands import serve

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture(scope="session")
def server_of_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose RAM no unlearning searches, which would take ten times as long.

    A module whose tests unlearn, but assert nothing on RAM, has it as its ``server``.
    """
    server = Server(tmp_path_factory.mktemp("files") / "data", "--erasure", "files")
    yield server
    assert server.end() == 0


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with visual_memory.connect(server.address) as client:
        yield client


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs ``visual-memory`` in an empty folder, without reports of progress.

    A server that it is asked for has no log: that of this process would go where the server's does.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serve, "log_to_standard_error", lambda *_: None)
    monkeypatch.setattr(progress, "LOG_SECONDS", math.inf)
    return as_command("visual-memory", main, monkeypatch, capsys)


@pytest.fixture
def run(command: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command that asks the server."""
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", server.address)
    return command


def text(done: Done) -> str:
    """Check that a command succeeded, and return its output."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def answer(done: Done) -> Any:
    """Check that a command succeeded, and parse its output as JSON."""
    return json.loads(text(done))


def refused(done: Done) -> str:
    """Check that a command was refused with one sentence, and return the sentence."""
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr
