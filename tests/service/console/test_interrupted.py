"""Work interrupted at the terminal continues in the server, and the terminal says so."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from tests.service.conftest import Run, text

from visual_memory import Client, Operation
from visual_memory.terminal.output import printable
from visual_memory_service.console.interrupted import report_running_operations

if TYPE_CHECKING:
    from tests.conftest import RemoteMemory, Server

COUNT, DIMENSION = 20_000, 128
BEGUN = datetime(2026, 1, 2, tzinfo=UTC)


def test_an_interrupted_command_names_what_goes_on_and_how_to_stop_it(
    run: Run, server: Server, client: Client, empty: RemoteMemory
) -> None:
    crowd = client.create_memory(f"{empty.name}x", dimension=DIMENSION)
    rows = np.random.default_rng(0).normal(size=(COUNT, DIMENSION))
    crowd.insert(vectors=rows, labels=["a", "b"] * (COUNT // 2))
    command = [sys.executable, "-m", "visual_memory_service", "assess", crowd.name]
    with subprocess.Popen(
        [*command, "--server", server.address], stderr=subprocess.PIPE, text=True
    ) as interrupted:
        while not (found := list(client.operations(crowd.name))):
            time.sleep(0.01)
        interrupted.send_signal(signal.SIGINT)
        _, said = interrupted.communicate(timeout=20)
    (operation,) = found

    wait = f"visual-memory operations wait {operation.name}"
    assert said.splitlines()[-2:] == [
        f"{operation.name}, assess of {printable(operation.create_time)} UTC, goes on; to wait for "
        f"it: {wait}; to stop it, cancel in place of wait",
        "Interrupted.",
    ]
    assert interrupted.returncode == 130
    assert client.operation(operation.name).state == "running"
    text(run(*wait.replace("wait", "cancel").split()[1:]))
    assert client.wait(operation).state == "cancelled"


class Busy:
    """A client of a server on which several operations run."""

    def operations(self, memory: str) -> list[Operation]:
        def operation(number: int, kind: str, state: str) -> Operation:
            return Operation(
                f"{memory}/{number}", memory, kind, state, 1, 9, "", BEGUN, BEGUN, None
            )

        return [
            operation(1, "assess", "done"),
            operation(2, "unlearn", "running"),
            operation(3, "prune", "running"),
        ]


def test_an_erasure_can_be_waited_for_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), report_running_operations(cast(Client, Busy()), "m"):
        raise KeyboardInterrupt

    begun = "2026-01-02 00:00:00 UTC"
    assert capsys.readouterr().err.splitlines() == [
        f"m/2, unlearn of {begun}, goes on; to wait for it: visual-memory operations wait m/2",
        f"m/3, prune of {begun}, goes on; to wait for it: visual-memory operations wait m/3; to "
        "stop it, cancel in place of wait",
    ]


def test_what_was_not_interrupted_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with report_running_operations(cast(Client, Busy()), "m"):
        pass

    assert capsys.readouterr() == ("", "")
