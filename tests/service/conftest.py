"""A client of the server that tests share, and commands as a person gives them."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import as_command

import visual_memory
from visual_memory import Client
from visual_memory.terminal import progress
from visual_memory_service.__main__ import main

if TYPE_CHECKING:
    from tests.conftest import Server

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with visual_memory.connect(server.address) as client:
        yield client


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """``visual-memory`` in an empty folder; it tells no progress, however slow the machine is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "LOG_SECONDS", math.inf)
    return as_command("visual-memory", main, monkeypatch, capsys)


@pytest.fixture
def run(command: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command that asks the server."""
    monkeypatch.setenv("VISUAL_MEMORY_SERVER", server.address)
    return command


def text(done: Done) -> str:
    """What a command printed that did all it was told."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def answer(done: Done) -> Any:
    """The same as JSON."""
    return json.loads(text(done))


def refused(done: Done) -> str:
    """The one sentence of a command that did nothing."""
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr
