"""A server that a program starts for itself ends with it, however that ends, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import SECONDS

import visual_memory
from visual_memory import FailedPrecondition, InvalidArgument, aio
from visual_memory._transport import embedded
from visual_memory._transport.embedded import EmbeddedServer

PROGRAM = """
import sys, visual_memory
client = visual_memory.connect()
client.create_memory("pets", dimension=4).insert(vectors=[[1, 0, 0, 0]], labels=["cat"])
print(client.target, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the temporary files of servers, which is empty."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def becomes_empty(folder: Path) -> bool:
    """Return True once the folder is empty, False if it does not become so."""
    end = time.monotonic() + SECONDS
    while any(folder.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(folder.iterdir())


def test_one_line_leads_to_a_decision_and_nothing_is_left(scratch: Path) -> None:
    with visual_memory.connect() as client:
        pets = client.create_memory("pets", dimension=4)
        pets.insert(vectors=np.eye(4), labels=list("abcd"))
        assert any(scratch.iterdir())

        assert pets.classify(vectors=np.eye(4)[2:3], k=1)[0].label == "c"
    assert not any(scratch.iterdir())


def test_it_is_the_same_for_asyncio(scratch: Path) -> None:
    async def ask() -> str:
        async with aio.connect() as client:
            pets = await client.create_memory("pets", dimension=4)
            await pets.insert(vectors=np.eye(4), labels=list("abcd"))
            (decision,) = await pets.classify(vectors=np.eye(4)[2:3], k=1)
            return decision.label

    assert asyncio.run(ask()) == "c"
    assert not any(scratch.iterdir())


def test_a_client_that_nobody_has_any_more_ends_its_server(scratch: Path) -> None:
    client = visual_memory.connect()
    client.memories()
    del client
    gc.collect()

    assert becomes_empty(scratch)


def test_each_client_has_a_server_of_its_own() -> None:
    with visual_memory.connect() as one, visual_memory.connect() as other:
        one.create_memory("pets", dimension=4)

        assert other.memories() == []


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_program(number: int | None, scratch: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        target = program.stdout.readline().strip()
        assert any(scratch.iterdir())
        if number is not None:
            program.send_signal(number)
    assert becomes_empty(scratch)
    with (
        visual_memory.connect(target, timeout=1) as client,
        pytest.raises(visual_memory.Unavailable),
    ):
        client.memories()


def test_an_interrupt_of_the_program_leaves_it(scratch: Path) -> None:
    deaf = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{PROGRAM}"
    with subprocess.Popen(
        [sys.executable, "-c", deaf],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout is not None
        target = program.stdout.readline().strip()
        os.killpg(program.pid, signal.SIGINT)
        with visual_memory.connect(target) as client:
            assert [each.name for each in client.memories()] == ["pets"]
    assert becomes_empty(scratch)


def test_variables_of_another_server_do_not_count(
    scratch: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path_factory.mktemp("other") / "data"
    monkeypatch.setenv("VISUAL_MEMORY_SERVE_DATA", str(data))
    monkeypatch.setenv("VISUAL_MEMORY_SERVE_TLS_CERTIFICATE", "missing.pem")

    with visual_memory.connect() as client:
        assert client.memories() == []
    assert not data.exists()


def test_what_belongs_to_a_server_elsewhere_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="target must be given with a key or certificates"):
        visual_memory.connect(api_key="key")


def test_a_server_that_does_not_get_ready_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "READY_SECONDS", 0.5)

    with pytest.raises(FailedPrecondition, match=r"The server did not start within 0\.5 s\."):
        EmbeddedServer("-c", "import time; time.sleep(60)")


def test_a_server_that_cannot_start_says_why_in_its_own_words() -> None:
    with pytest.raises(FailedPrecondition, match=r"^A sentence\.$"):
        EmbeddedServer("-c", "import sys; sys.exit('First line\\nA sentence.')")


def test_a_temporary_folder_takes_no_other_and_ends_with_its_input(scratch: Path) -> None:
    def serve(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "visual_memory_service", "serve", "--temporary", *flags]
        return subprocess.run(
            [*command, "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    assert serve().returncode == 0
    refused = serve("--data", str(scratch / "data"))
    assert refused.returncode == 2
    assert "argument --data: not allowed with argument --temporary" in refused.stderr
    assert not any(scratch.iterdir())
