"""Fixtures for tests through a real server: the server in a process of its own, and pictures."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import ArrayLike
from PIL import Image

import visual_memory
from visual_memory import errors
from visual_memory.v1 import entry_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]
SECONDS = 60

RAM = Path("/dev/shm")
# Hundreds of processes are started: what they import is compiled once, whatever the caller wants,
# and idle threads of OpenBLAS sleep at once instead of spinning for a tenth of a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.pop("PYTHONUNBUFFERED", None)  # what a program has not written when it ends is tested
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
# A shell has its background jobs ignore it, and the processes that the tests interrupt would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
Start: TypeAlias = "Callable[..., Server]"
Picture: TypeAlias = Callable[..., bytes]


def folder_in_ram() -> tempfile.TemporaryDirectory[str]:
    """Create a temporary folder, in RAM if this is Linux, so that no test waits for a disk."""
    return tempfile.TemporaryDirectory(dir=RAM if RAM.is_dir() else None)


class Process:
    """A ``visual-memory`` command that serves on a free port, in a process of its own."""

    def begin(self, *command: object, **environment: str) -> None:
        """Start the process and a channel to it; ``address`` is empty if that failed."""
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in ``wait``
        self.process = subprocess.Popen(
            [sys.executable, "-m", "visual_memory_service", *map(str, command)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().removeprefix("listening on ").strip()
        self.channel = grpc.insecure_channel(self.address, options=OPTIONS)

    def log(self) -> str:
        """Return the log so far."""
        self._log.seek(0)
        return self._log.read()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait, and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        code = self.process.wait(SECONDS)
        self.channel.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.last_log = self.log()
        self._log.close()
        return code


class Server(Process):
    """A ``visual-memory serve`` process, with the generated stub."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.data = data
        self.start(*flags)

    def start(self, *flags: str) -> None:
        """Start to serve the folder."""
        self.begin("serve", "--data", self.data, "--listen", "127.0.0.1:0", *flags)
        self.stub = service_pb2_grpc.VisualMemoryStub(self.channel)
        if not self.address:
            self.wait()
            pytest.fail(f"The server did not start: {self.last_log}")

    def restart(self, *flags: str, number: int = signal.SIGTERM) -> None:
        """End the server by a signal, and serve the same folder again."""
        self.end(number)
        self.start(*flags)


class RemoteMemory:
    """A memory of a server, used through the generated stub."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name

    @property
    def stub(self) -> service_pb2_grpc.VisualMemoryStub:
        return self.server.stub

    def insert(
        self, rows: ArrayLike, ids: Sequence[str], labels: Sequence[str] = (), **more: Any
    ) -> list[str]:
        """Insert vectors; without labels all are cats."""
        batch = to_batch(rows, ids, labels)
        request = pb.InsertEntriesRequest(memory=self.name, batch=batch, **more)
        return list(self.stub.InsertEntries(request).ids)

    def stored(self) -> list[bytes]:
        """Return every entry with its vector, serialised; a refused call must not change them."""
        stored, token = [], ""
        while True:
            request = pb.ListEntriesRequest(
                memory=self.name, include_vectors=True, page_size=10_000, page_token=token
            )
            page = self.stub.ListEntries(request)
            stored += [entry.SerializeToString(deterministic=True) for entry in page.entries]
            token = page.next_page_token
            if not token:
                return stored

    def ids(self) -> list[str]:
        """Return the ids of all entries, in the order of ListEntries."""
        return [entry_pb2.Entry.FromString(data).id for data in self.stored()]


def to_vectors(rows: ArrayLike) -> entry_pb2.Vectors:
    array = np.atleast_2d(np.asarray(rows, "<f4"))
    return entry_pb2.Vectors(rows=len(array), data=array.tobytes())


def to_batch(rows: ArrayLike, ids: Sequence[str], labels: Sequence[str] = ()) -> pb.EntryBatch:
    pairs = zip(ids, labels or ["cat"] * len(ids), strict=True)
    entries = [entry_pb2.Entry(id=id, label=label) for id, label in pairs]
    return pb.EntryBatch(entries=entries, vectors=to_vectors(rows))


def as_command(
    name: str,
    main: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a program in this process as if from a command line."""

    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            code = main()
        except SystemExit as exit:
            code = int(exit.code or 0)
        said = capsys.readouterr()
        return subprocess.CompletedProcess([], code, said.out, said.err)

    return command


def refusal(call: Callable[..., Any], *arguments: Any) -> visual_memory.Error:
    """Return the error that a call is refused with, with the details that the server sent."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    return errors.from_rpc(caught.value, "the server")


def to_picture(
    seed: int = 0, size: tuple[int, int] = (40, 30), format: str = "PNG", **options: Any
) -> bytes:
    """Return a picture of coloured noise, encoded in ``format``."""
    shape = (size[1], size[0], 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format, **options)
    return data.getvalue()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a server with flags; servers still running are ended."""
    started: list[Server] = []

    def start(data: Path | None = None, *flags: str) -> Server:
        started.append(Server(data or tmp_path / "data", *flags))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that change nothing but memories of their own."""
    os.environ.pop("VISUAL_MEMORY_SERVER", None)
    server = Server(tmp_path_factory.mktemp("served") / "data")
    yield server
    assert server.end() == 0


@contextmanager
def new_memory(server: Server, **settings: Any) -> Iterator[RemoteMemory]:
    """Create a memory, and delete it if the test has not: a server keeps all of them in RAM."""
    memory = RemoteMemory(server, f"m{uuid.uuid4().hex}")
    server.stub.CreateMemory(pb.CreateMemoryRequest(name=memory.name, **settings))
    yield memory
    deleted = server.stub.DeleteMemory.future(pb.DeleteMemoryRequest(name=memory.name))
    assert deleted.code() in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND), deleted


@pytest.fixture
def empty(server: Server) -> Iterator[RemoteMemory]:
    """A memory of vectors with 4 dimensions that holds nothing."""
    with new_memory(server, dimension=4) as memory:
        yield memory


@pytest.fixture
def pets(empty: RemoteMemory) -> RemoteMemory:
    """A memory with vectors on the first three axes: two cats, a and b, and a dog, c."""
    empty.insert(np.eye(4)[:3], ["a", "b", "c"], ["cat", "cat", "dog"])
    return empty


@pytest.fixture
def album(server: Server) -> Iterator[RemoteMemory]:
    """A memory of pictures with the default embedder: two entries, a and b."""
    batch = pb.EntryBatch(
        entries=[entry_pb2.Entry(id=id, label="noise") for id in "ab"],
        images=entry_pb2.Images(data=[to_picture(1), to_picture(2)]),
    )
    with new_memory(server, embedder="efficientnet-lite0") as memory:
        server.stub.InsertEntries(pb.InsertEntriesRequest(memory=memory.name, batch=batch))
        yield memory


@pytest.fixture(scope="session")
def shared() -> Path:
    """The private test data."""
    if not SHARED.is_dir():
        pytest.skip(f"the private test data are not at {SHARED}")
    return SHARED
