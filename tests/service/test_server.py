"""A server from its first line to its last: deadlines, draining, and a failing disk."""

from __future__ import annotations

import io
import json
import os
import queue
import re
import resource
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from PIL import Image
from tests.conftest import SECONDS, RemoteMemory, Server, refusal, to_batch, to_picture, to_vectors

import visual_memory
from visual_memory.v1 import entry_pb2
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.conftest import Start

SERVICE = "visual_memory.v1.VisualMemory"
# Root may read and write all files, unless it has let go of that right.
MAY_NOT_ALL = () if os.geteuid() else ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
OWN = "grpc.use_local_subchannel_pool"  # a connection of its own for each channel


def create(server: Server, name: str = "pets", dimension: int = 4) -> RemoteMemory:
    server.stub.CreateMemory(pb.CreateMemoryRequest(name=name, dimension=dimension))
    return RemoteMemory(server, name)


def serve(data: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Try to serve, if that must fail."""
    command = [sys.executable, "-m", "visual_memory_service", "serve", "--data", str(data)]
    return subprocess.run(
        [*command, "--listen", "127.0.0.1:0", *flags], capture_output=True, text=True, timeout=60
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Check that a server did not start, and return its one sentence."""
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    return lines[0]


def test_the_server_tells_its_release_limits_and_embedders(start: Start) -> None:
    server = start(None, "--allow-embedder", "timm:*", "--allow-embedder", "onnx:/a.onnx")

    info = server.stub.GetServerInfo(pb.GetServerInfoRequest())

    assert info.version == version("visual-memory")
    assert (info.limits.message_bytes, info.limits.items) == (64 * 2**20, 10_000)
    assert (info.limits.image_bytes, info.limits.image_pixels) == (32 * 2**20, 64_000_000)
    assert list(info.embedders) == [
        "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "timm:*", "onnx:/a.onnx"
    ]  # fmt: skip


def test_limits_of_the_configuration_are_kept_and_told(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("items_max = 2\nimage_bytes_max = 100\n")
    server = start(None, "--config", str(file))
    pets = create(server)

    error = refusal(lambda: pets.insert(np.eye(4)[:3], ["a", "b", "c"]))

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "are 3, but one message takes 2" in error.message
    with visual_memory.connect(server.address) as client:
        assert client.server_info().limits.items == 2
        client.memory("pets").insert(vectors=np.eye(4), labels=["x"] * 4)
    assert len(pets.ids()) == 4


def test_logs_are_one_json_object_a_line_and_hold_no_content(start: Start) -> None:
    server = start(None, "--log-level", "debug")
    create(server).insert(np.eye(4)[:1], ["secret-id"], ["secret-label"])
    refusal(server.stub.GetMemory, pb.GetMemoryRequest(name="secret-name"))

    server.end()

    events = [json.loads(line)["event"] for line in server.last_log.splitlines()]
    assert [*events[:2], *events[-2:]] == ["serving", "memory created", "draining", "stopped"]
    assert {"answered", "refused"} <= set(events)
    assert "secret" not in server.last_log


def test_the_log_says_how_long_each_memory_and_all_took_to_open(start: Start) -> None:
    server = start(None)
    create(server).insert(np.eye(4)[:3], ["a", "b", "c"])
    server.restart()

    server.end()

    logged = [json.loads(line) for line in server.last_log.splitlines()]
    opened, serving = (
        next(each for each in logged if each["event"] == event)
        for event in ("memory opened", "serving")
    )
    assert (opened["memory"], opened["entries"]) == ("pets", 3)
    assert 0 <= opened["seconds"] <= serving["seconds"] < 60


def test_threads_of_a_server_take_short_turns(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "turn"
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, sys\n"
        "set_turn = sys.setswitchinterval\n"
        "def note(seconds):\n"
        "    set_turn(seconds)\n"
        f"    pathlib.Path({str(told)!r}).write_text(str(sys.getswitchinterval()))\n"
        "sys.setswitchinterval = note\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    start(None)

    assert float(told.read_text()) == pytest.approx(0.001)


def test_reflection_names_the_services_and_knows_the_protos(server: Server) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]

    listed, file = stub.ServerReflectionInfo(iter(requests))

    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    assert file.file_descriptor_response.file_descriptor_proto


# Deadlines and draining

# Runs a command that may start the given number of threads.
FEW_THREADS = """
import sys, threading
from visual_memory_service.__main__ import main

allowed, start = int(sys.argv.pop(1)), threading.Thread.start
started = []

def refuse(thread):
    if len(started) == allowed:
        raise RuntimeError("can't start new thread")
    started.append(thread)
    start(thread)

threading.Thread.start = refuse
sys.exit(main())
"""


@pytest.fixture
def pictures() -> list[bytes]:
    """Enough pictures that embedding them takes a quarter of a second or more."""
    return [to_picture(seed, (320, 320), "JPEG") for seed in range(40)]


def test_a_write_past_its_deadline_is_done_once_when_it_is_tried_again(
    album: RemoteMemory, pictures: list[bytes]
) -> None:
    request = pb.InsertEntriesRequest(
        memory=album.name,
        batch=pb.EntryBatch(
            entries=[entry_pb2.Entry(label="x") for _ in pictures],
            images=entry_pb2.Images(data=pictures),
        ),
        request_id="late",
    )

    error = refusal(lambda: album.stub.InsertEntries(request, timeout=0.05))
    ids = list(album.stub.InsertEntries(request).ids)

    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert album.ids() == ["a", "b", *ids] or sorted(["a", "b", *ids]) == album.ids()
    assert list(album.stub.InsertEntries(request).ids) == ids


def plain(shade: int, size: tuple[int, int]) -> bytes:
    """Return a picture of few bytes and many pixels."""
    data = io.BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(data, "PNG", compress_level=1)
    return data.getvalue()


def test_the_client_says_how_a_late_write_is_done_once(album: RemoteMemory) -> None:
    large = [plain(shade, (7000, 7000)) for shade in range(2)]
    given: dict[str, Any] = {"images": large, "labels": ["x"] * len(large)}

    with visual_memory.connect(album.server.address, timeout=0.2) as hasty:
        hasty.server_info()
        with pytest.raises(visual_memory.DeadlineExceeded, match="request_id=") as caught:
            hasty.memory(album.name).insert(**given)
    with visual_memory.connect(album.server.address) as patient:
        result = patient.memory(album.name).insert(**given, request_id=caught.value.request_id)

    assert sorted(["a", "b", *result.ids]) == album.ids()


class OpenImport:
    """An import that the server has answered once, under way until ``end``."""

    def __init__(self, server: Server) -> None:
        server.stub.CreateMemory(pb.CreateMemoryRequest(name="pets", dimension=4))
        self._steps: queue.SimpleQueue[pb.ImportEntriesRequest | None] = queue.SimpleQueue()
        start = pb.ImportStart(memory="pets", request_id="import")
        self._steps.put(pb.ImportEntriesRequest(start=start))
        self._answers = server.stub.ImportEntries(iter(self._steps.get, None), timeout=60)
        assert next(self._answers).offset == 0

    def end(self) -> list[str]:
        """Send a last entry, and return the acknowledged ids."""
        batch = pb.ImportBatch(batch=to_batch([[1, 0, 0, 0]], ["tom"]))
        self._steps.put(pb.ImportEntriesRequest(batch=batch))
        self._steps.put(None)
        return [id for answer in self._answers for id in answer.ids]


def test_sigterm_lets_calls_under_way_be_answered(start: Start) -> None:
    server = start()
    call = OpenImport(server)

    server.process.send_signal(signal.SIGTERM)
    while "draining" not in server.log():
        time.sleep(0.01)

    assert call.end() == ["tom"]
    assert server.wait() == 0
    server.start()
    assert RemoteMemory(server, "pets").ids() == ["tom"]


def test_calls_that_come_while_it_drains_are_refused_as_unavailable(start: Start) -> None:
    server = start()
    call = OpenImport(server)
    asking = threading.Barrier(9)

    def refused(number: int) -> visual_memory.Error:
        """Call until a call is refused, over one connection or many; return the error."""
        channel = grpc.insecure_channel(server.address, options=[(OWN, 1)])
        asking.wait()
        while True:
            ask: Any = channel.unary_unary(f"/{SERVICE}/GetServerInfo")
            try:
                ask(b"", timeout=30)
            except grpc.RpcError as error:
                channel.close()
                return visual_memory.errors.from_rpc(error, "the server")
            if number % 2:
                channel.close()
                channel = grpc.insecure_channel(server.address, options=[(OWN, 1)])

    with ThreadPoolExecutor(8) as threads:
        late = [threads.submit(refused, number) for number in range(8)]
        asking.wait()
        server.process.send_signal(signal.SIGTERM)
        errors = [each.result() for each in late]
    health = health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest())

    assert {(type(error), error.reason) for error in errors} == {
        (visual_memory.Unavailable, "SERVER_STOPPING")
    }
    assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert call.end() == ["tom"]
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once(start: Start, number: int) -> None:
    server = start()
    began = time.monotonic()

    assert server.end(number) == 0

    assert time.monotonic() - began < 10


# What keeps a server from starting


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder, with one memory, of a server that has ended."""
    server = Server(tmp_path_factory.mktemp("ended") / "data")
    create(server)
    assert server.end() == 0
    return server.data


@pytest.fixture
def ended(served: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return shutil.copytree(served, tmp_path / "data")


@pytest.mark.parametrize(
    ("allowed", "command"),
    [
        (10, "serve --data data --erasure files"),
        (65, "serve --data data --erasure files --threads 2"),
        (5, "reranker chat --url http://127.0.0.1:1 --model m"),
    ],
)
def test_a_server_that_the_system_gives_too_few_threads_says_so(
    tmp_path: Path, allowed: int, command: str
) -> None:
    program = [sys.executable, "-c", FEW_THREADS, str(allowed), *command.split()]

    done = subprocess.run(
        [*program, "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert refused(done) == (
        "The system gives the server too few threads (can't start new thread); let it have more "
        "memory (ulimit -v) or processes (ulimit -u)."
    )


def open_files(pid: int) -> set[Path]:
    """Return the files that a process holds open."""
    found = set[Path]()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(each.readlink())
    return found


def test_a_server_that_is_still_opening_its_memories_ends_at_once(ended: Path) -> None:
    (path,) = (ended / "memories").glob("*.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN IMMEDIATE")  # for which others wait for 10 seconds
        command = [sys.executable, "-m", "visual_memory_service", "serve", "--data", str(ended)]
        server = subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE)
        while server.poll() is None and path not in open_files(server.pid):
            time.sleep(0.01)

        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=5)

    assert server.returncode == 0
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["stopped"]
    again = Server(ended)
    assert again.stub.GetMemory(pb.GetMemoryRequest(name="pets")).count == 0
    assert again.end() == 0


def test_a_second_server_on_the_same_folder_names_the_first(start: Start) -> None:
    server = start()
    pets = create(server)

    sentences = [
        refused(serve(server.data, *flags)) for flags in ((), ("--listen", server.address))
    ]

    for sentence in sentences:
        assert f"(process {server.process.pid}) is using the data folder {server.data}" in sentence
    pets.insert(np.eye(4)[:1], ["a"])
    assert pets.ids() == ["a"]


def test_a_limit_of_files_that_is_too_low_is_told(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "visual_memory_service", "serve", "--listen", "127.0.0.1:0"]
    command = [*serve, "--data", str(tmp_path / "data")]
    limited = f"ulimit -n 26; exec {shlex.join(command)}"

    done = subprocess.run(limited, shell=True, capture_output=True, text=True, timeout=60)

    assert refused(done) == (
        "The server may have 26 files open; it needs 64, and eight more for each memory, one for "
        "each connection: let it have more (ulimit -n)."
    )
    assert not (tmp_path / "data").exists()


def test_a_folder_that_lost_its_catalog_is_not_served_as_if_it_were_new(ended: Path) -> None:
    (ended / "catalog.sqlite").unlink()

    sentence = refused(serve(ended))

    assert f"{ended / 'catalog.sqlite'} is missing or empty, but this folder" in sentence


def test_the_folder_of_a_server_that_was_killed_is_free(start: Start) -> None:
    server = start()
    create(server).insert(np.eye(4)[:1], ["a"])

    server.restart(number=signal.SIGKILL)

    assert RemoteMemory(server, "pets").ids() == ["a"]


def test_a_folder_of_a_newer_release_is_refused(ended: Path) -> None:
    with sqlite3.connect(ended / "catalog.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    sentence = refused(serve(ended))

    assert "catalog.sqlite has schema 99, but this release knows up to" in sentence
    assert "use the newer release" in sentence


def test_a_damaged_catalogue_is_refused(ended: Path) -> None:
    (ended / "catalog.sqlite").write_bytes(b"x" * 9999)

    assert re.search(r"catalog\.sqlite is damaged \(.*\); stop the", refused(serve(ended)))


def test_a_signing_key_that_is_none_is_refused(ended: Path) -> None:
    (ended / "keys" / "signing.pem").write_bytes(b"x" * 99)

    assert "signing.pem holds no Ed25519 key without a password" in refused(serve(ended))


@pytest.mark.parametrize("flag", ["--listen", "--http-listen", "--metrics-listen"])
def test_a_port_in_use_is_refused_before_a_folder_is_made(tmp_path: Path, flag: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        sentence = refused(serve(tmp_path / "data", flag, address))

    assert sentence == (
        f"{address} cannot be listened on; is another program using that port? A server that was "
        "told to stop may still be finishing its calls: wait for it, or choose another with "
        f"{flag}."
    )
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    sentence = refused(serve(tmp_path / "file"))

    assert sentence.startswith(f"{tmp_path / 'file'} cannot be the data folder: ")


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")

    sentence = refused(serve(tmp_path))

    assert sentence.startswith(f"{tmp_path} is no data folder of a server: it holds 'thesis.tex'")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_was_made_read_only_is_told_at_once(start: Start, small_disk: Path) -> None:
    server = start(small_disk / "data")
    pets = create(server, dimension=4)
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    if subprocess.run(remount, capture_output=True).returncode:
        pytest.skip("a disk that files are open on cannot be made read-only here")

    error = refusal(server.stub.CreateMemory, pb.CreateMemoryRequest(name="more", dimension=4))

    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRITE_FAILED")
    assert pets.stored() == []


@pytest.mark.parametrize(
    ("path", "mode", "told"),
    [
        ("memories", 0o500, "{data} cannot be the data folder: {path}: Permission denied; let the"),
        ("noted", 0o500, "{data} cannot be the data folder: {path}: Permission denied; let the"),
        ("keys", 0o000, "{data} cannot be the data folder: {path}/tombstones.key: Permission den"),
        (
            "keys/tombstones.key",
            0o000,
            "{path} could not be opened (permission denied); let the se",
        ),
        (
            "keys/api-keys.json",
            0o000,
            "{path} cannot be used (Permission denied); let the server r",
        ),
        (
            "catalog.sqlite",
            0o000,
            "{path} could not be opened (permission denied); let the server w",
        ),
    ],
)
def test_a_folder_that_the_server_may_not_use_is_refused_with_what_to_let_it_do(
    start: Start, tmp_path: Path, path: str, mode: int, told: str
) -> None:
    data = tmp_path / "data"
    serve = [sys.executable, "-m", "visual_memory_service", "serve", "--listen", "127.0.0.1:0"]
    keys = [*serve[:3], "keys", "create", "ann", "--scope", "read", "--data", str(data)]
    subprocess.run(keys, check=True, capture_output=True)
    start(data, "--erasure", "files").end()
    closed, before = data / path, (data / path).stat().st_mode
    closed.chmod(mode)

    command = [*MAY_NOT_ALL, *serve, "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    closed.chmod(before)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(told.format(data=data, path=closed))


def test_secrets_that_others_can_read_are_told(start: Start) -> None:
    with tempfile.TemporaryDirectory() as name:
        data = Path(name, "data")
        start(data, "--erasure", "files").end()
        for each in (Path(name), data, data / "keys"):
            each.chmod(0o755)
        (data / "keys" / "signing.pem").chmod(0o644)
        server = start(data)
        server.end()

    lines = [json.loads(line) for line in server.last_log.splitlines()]
    told = [line["path"] for line in lines if line["event"] == "others can read a secret"]
    assert told == [str(data / "keys" / "signing.pem")]


def test_too_many_open_files_are_told_as_such(start: Start) -> None:
    server = start()
    create(server, dimension=4)
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))

    error = refusal(server.stub.CreateMemory, pb.CreateMemoryRequest(name="more", dimension=4))

    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_FILES")
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
    server.stub.CreateMemory(pb.CreateMemoryRequest(name="more", dimension=4))


def test_a_lack_of_memory_is_told_as_such(start: Start) -> None:
    server = start()
    pets = create(server, dimension=1536)
    pets.insert(np.eye(1536)[:1], ["a"])
    rows = np.random.default_rng(0).normal(size=(9_000, 1536))
    statm = Path(f"/proc/{server.process.pid}/statm").read_text()
    used = int(statm.split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (used + (160 << 20), -1))

    def insert_too_much() -> None:
        for batch in range(8):
            pets.insert(rows, [f"{batch}-{number}" for number in range(len(rows))])

    error = refusal(insert_too_much)

    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OUT_OF_MEMORY")
    resource.prlimit(server.process.pid, resource.RLIMIT_AS, (-1, -1))
    assert len(pets.ids()) % len(rows) == 1


@pytest.fixture
def fill(small_disk: Path) -> Callable[[], Path]:
    """Return a function that fills the disk, and returns the file to delete to make room."""

    def fill() -> Path:
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        return ballast

    return fill


def test_on_a_full_disk_writes_are_refused_and_reads_go_on(
    start: Start, small_disk: Path, fill: Callable[[], Path]
) -> None:
    server = start(small_disk / "data")
    pets = create(server, dimension=256)
    pets.insert(np.eye(256)[:9], list("abcdefghi"))
    before, ballast = pets.stored(), fill()
    rows, ids = np.random.default_rng(0).normal(size=(500, 256)), [f"{n:03}" for n in range(500)]

    errors = [
        refusal(lambda: pets.insert(rows, ids, request_id="again")),
        refusal(server.stub.CreateMemory, pb.CreateMemoryRequest(name="more", dimension=4)),
    ]

    assert {error.code for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert {error.reason for error in errors} == {"DISK_FULL"}
    assert all("make room on the disk" in error.message for error in errors)
    search = pb.SearchRequest(memory="pets", vectors=to_vectors(np.eye(256)[0]), k=1)
    assert server.stub.Search(search).results[0].neighbors[0].id == "a"
    assert pets.stored() == before

    ballast.unlink()

    pets.insert(rows, ids, request_id="again")
    assert pets.ids() == [*ids, *"abcdefghi"]
    create(server, "more")
    server.restart()
    assert pets.ids() == [*ids, *"abcdefghi"]


def test_the_client_waits_for_room_on_the_disk(
    start: Start, small_disk: Path, fill: Callable[[], Path]
) -> None:
    server = start(small_disk / "data")
    create(server, dimension=256)
    ballast = fill()
    threading.Timer(0.5, ballast.unlink).start()

    with visual_memory.connect(server.address, timeout=20) as client:
        client.memory("pets").insert(vectors=np.ones((500, 256)), labels=["x"] * 500)
        assert client.memory("pets").info().count == 500

    assert os.listdir(small_disk) == ["data"]
