"""A backup is a whole file or none, even if its transfer breaks, for both clients."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Thread, Timer
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tests.client.conftest import Service, to_status

import visual_memory
from visual_memory import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
    aio,
)
from visual_memory._transport.retry import CONNECTING_SECONDS
from visual_memory.protocol import PIECE_BYTES, with_checksum
from visual_memory.v1 import memory_pb2, service_pb2_grpc
from visual_memory.v1 import service_pb2 as pb

if TYPE_CHECKING:
    from tests.client.conftest import Connect

CLOSINGS = int(os.environ.get("CLOSINGS", "12"))
DATA = b"".join(with_checksum(BytesIO(os.urandom(PIECE_BYTES + 1000))))


class Vault(Service):
    """A service that sends ``data`` as every backup, and receives backups."""

    def __init__(self) -> None:
        super().__init__()
        self.data = DATA
        self.breaks: list[int] = []  # after how many pieces each backup breaks off
        self.break_says_so = True
        self.stalls_seconds = 0.0
        self.stalls: list[float] = []  # instead, one for each backup
        self.paces: list[float] = []  # how many seconds each backup takes between two pieces
        self.restored: list[tuple[str, bytes]] = []

    def BackupMemory(self, request: Any, context: Any) -> Iterator[pb.BackupMemoryResponse]:
        self.intercept("BackupMemory", request, context)
        yield pb.BackupMemoryResponse()
        time.sleep(self.stalls.pop(0) if self.stalls else self.stalls_seconds)
        pieces = range(0, len(self.data), 1000)
        broken = self.breaks.pop(0) if self.breaks else len(pieces)
        pace = self.paces.pop(0) if self.paces else 0.0
        for start in pieces[:broken]:
            time.sleep(pace)
            piece = self.data[start : start + 1000]
            yield pb.BackupMemoryResponse(data=piece, total_bytes=len(self.data))
        if broken < len(pieces) and self.break_says_so:
            context.abort(grpc.StatusCode.UNAVAILABLE, "The server is stopping.")

    def RestoreMemory(self, requests: Any, context: Any) -> pb.RestoreMemoryResponse:
        first = next(requests)
        self.intercept("RestoreMemory", first, context)
        data = b"".join(request.data for request in requests)
        time.sleep(self.stalls_seconds)
        self.restored.append((first.request_id, data))
        memory = memory_pb2.Memory(name=first.name, dimension=2, count=7)
        return pb.RestoreMemoryResponse(memory=memory, left_out_count=3)

    def CopyMemory(self, request: Any, context: Any) -> memory_pb2.Memory:
        self.intercept("CopyMemory", request, context)
        return memory_pb2.Memory(name=request.new_name)


@pytest.fixture
def service() -> Vault:
    return Vault()  # type: ignore[abstract]  # it knows what its tests ask


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pets.vmb"


def test_a_backup_becomes_a_file(client: visual_memory.Client, file: Path) -> None:
    told: list[tuple[int, int]] = []

    count = client.backup("pets", file, progress=lambda *done: told.append(done))

    assert file.read_bytes() == DATA
    assert count == len(DATA)
    assert told == sorted(told)
    assert {total for _, total in told} == {len(DATA)}
    assert told[-1][0] == len(DATA)
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_is_there_is_kept_and_nothing_asked(
    service: Vault, client: visual_memory.Client, file: Path
) -> None:
    file.write_bytes(b"old")

    with pytest.raises(AlreadyExists, match=r"pets\.vmb exists already; it is kept unless"):
        client.backup("pets", file)

    assert file.read_bytes() == b"old"
    assert not service.requests["BackupMemory"]
    client.backup("pets", str(file), overwrite=True)
    assert file.read_bytes() == DATA


def test_a_backup_that_breaks_off_is_begun_anew(
    service: Vault, client: visual_memory.Client, file: Path
) -> None:
    service.breaks = [50, 0, 260]

    assert client.backup("pets", file) == len(DATA)

    assert file.read_bytes() == DATA
    assert len(service.requests["BackupMemory"]) == 4


def test_a_backup_that_breaks_off_late_is_begun_anew_too(
    service: Vault, connect: Connect, target: str, file: Path
) -> None:
    service.breaks, service.paces = [20], [0.15]

    assert connect(target, timeout=2).backup("pets", file) == len(DATA)

    assert file.read_bytes() == DATA
    assert len(service.requests["BackupMemory"]) == 2


@pytest.mark.parametrize("kind", ["backup", "restore"])
def test_a_transfer_goes_on_after_a_restart_that_takes_longer_than_connecting(
    service: Vault, file: Path, kind: str
) -> None:
    def serve(address: str) -> tuple[grpc.Server, str]:
        server = grpc.server(ThreadPoolExecutor(2))
        service_pb2_grpc.add_VisualMemoryServicer_to_server(service, server)
        port = server.add_insecure_port(address)
        server.start()
        return server, f"127.0.0.1:{port}"

    server, target = serve("127.0.0.1:0")
    again: list[Future[tuple[grpc.Server, str]]] = []

    def restart(done: int, total: int) -> None:
        if not again:
            again.append(Future())
            server.stop(None).wait()
            start = Timer(CONNECTING_SECONDS + 1, lambda: again[0].set_result(serve(target)))
            start.start()

    with visual_memory.connect(target) as client:
        if kind == "backup":
            client.backup("pets", file, progress=restart)
        else:
            file.write_bytes(DATA)
            client.restore(file, "pets", request_id="once", progress=restart)

    again[0].result()[0].stop(None).wait()
    assert file.read_bytes() == DATA
    assert kind == "backup" or service.restored[-1] == ("once", DATA)


def test_a_backup_that_breaks_off_again_and_again_leaves_the_old_file(
    service: Vault, connect: Connect, target: str, file: Path
) -> None:
    service.breaks = [5] * 1000
    file.write_bytes(b"old")

    with pytest.raises(Unavailable, match="stopping"):
        connect(target, timeout=2).backup("pets", file, overwrite=True)

    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_backup_that_breaks_off_and_then_stalls_says_why_it_broke_off(
    service: Vault, connect: Connect, target: str, file: Path
) -> None:
    service.breaks, service.stalls = [5], [0.0, 3.0]

    with pytest.raises(DeadlineExceeded, match=r"The try before was refused: .*stopping"):
        connect(target, timeout=1).backup("pets", file)

    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("pieces", [0, 5, 263])
def test_a_backup_whose_stream_ends_well_before_its_end_is_begun_anew(
    service: Vault, client: visual_memory.Client, file: Path, pieces: int
) -> None:
    service.breaks, service.break_says_so = [pieces], False

    assert client.backup("pets", file) == len(DATA)

    assert file.read_bytes() == DATA
    assert len(service.requests["BackupMemory"]) == 2


def test_a_backup_that_never_comes_whole_leaves_the_old_file_and_says_why(
    service: Vault, connect: Connect, target: str, file: Path
) -> None:
    service.data = DATA[:-1]
    file.write_bytes(b"old")

    with pytest.raises(Unavailable, match=r"pets did not come whole \(its end is missing"):
        connect(target, timeout=2).backup("pets", file, overwrite=True)

    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_backup_of_which_nothing_comes_is_given_up(
    service: Vault, connect: Connect, target: str, file: Path
) -> None:
    service.stalls_seconds = 1.0

    with pytest.raises(DeadlineExceeded, match=r"within the timeout of 0\.3 s"):
        connect(target, timeout=0.3).backup("pets", file)

    assert list(file.parent.iterdir()) == []


def test_a_backup_that_is_refused_leaves_no_file(
    service: Vault, client: visual_memory.Client, file: Path
) -> None:
    service.refusal = to_status("There is no memory of this name.")
    with pytest.raises(InvalidArgument, match="There is no memory"):
        client.backup("pets", file)

    service.refusal.code = grpc.StatusCode.NOT_FOUND.value[0]
    with pytest.raises(NotFound):
        client.backup("pets", file)

    assert list(file.parent.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(client: visual_memory.Client, file: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"path: no such file: .*nowhere"):
        client.backup("pets", file.parent / "nowhere" / "pets.vmb")


def test_a_backup_is_sent_as_it_is(
    service: Vault, client: visual_memory.Client, file: Path
) -> None:
    file.write_bytes(DATA)
    told: list[tuple[int, int]] = []

    result = client.restore(
        file, name="pets2", request_id="once", progress=lambda *done: told.append(done)
    )

    assert (result.info.name, result.info.count, result.left_out) == ("pets2", 7, 3)
    assert service.restored == [("once", DATA)]
    assert told[-1] == (len(DATA), len(DATA))


def test_a_restore_is_tried_again_with_the_same_request_id(
    service: Vault, client: visual_memory.Client, file: Path
) -> None:
    file.write_bytes(DATA)
    service.faults["RestoreMemory"] = [grpc.StatusCode.UNAVAILABLE] * 2

    client.restore(file, "pets2")

    (restored,) = service.restored
    ids = {request.request_id for request in service.requests["RestoreMemory"]}
    assert restored[1] == DATA
    assert ids == {restored[0]}
    assert restored[0]


def test_what_can_be_read_once_only_is_no_backup_to_restore(
    service: Vault, client: visual_memory.Client, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    keeping_it_open = os.open(tmp_path / "pipe", os.O_RDWR)

    with pytest.raises(InvalidArgument, match="path: cannot be read twice"):
        client.restore(tmp_path / "pipe", "pets2")

    os.close(keeping_it_open)
    assert not service.requests["RestoreMemory"]


@pytest.mark.parametrize("error", [KeyError("mine"), BrokenPipeError(32, "mine"), SystemExit(3)])
def test_an_error_of_ones_own_progress_is_told_as_it_is(
    error: BaseException, service: Vault, target: str, file: Path
) -> None:
    file.write_bytes(DATA)

    def progress(done: int, total: int) -> None:
        raise error

    with visual_memory.connect(target, timeout=20) as client:
        began = time.monotonic()
        with pytest.raises(type(error)) as caught:
            client.restore(file, "pets2", progress=progress)
        assert caught.value is error
        with pytest.raises(type(error)) as caught:
            client.backup("pets", file, overwrite=True, progress=progress)
        assert caught.value is error
        assert time.monotonic() - began < 10  # not only when the time is over

    assert file.read_bytes() == DATA


def test_a_file_that_fails_while_it_is_read_is_told_by_its_name(
    client: visual_memory.Client,
) -> None:
    with pytest.raises(InvalidArgument, match="path: input/output error: /proc/self/mem"):
        client.restore("/proc/self/mem", "pets2")


def test_a_restore_that_is_refused_says_why_at_once(
    service: Vault, client: visual_memory.Client, file: Path
) -> None:
    file.write_bytes(DATA * 20)
    service.refusal = to_status("The name is taken.")

    with pytest.raises(InvalidArgument, match="The name is taken"):
        client.restore(file, "pets2")


def test_a_restore_without_an_answer_is_given_up_with_its_request_id(
    service: Vault, connect: Connect, target: str, file: Path
) -> None:
    file.write_bytes(DATA)
    service.stalls_seconds = 1.0

    with pytest.raises(DeadlineExceeded, match="request_id='once'") as late:
        connect(target, timeout=0.3).restore(file, "pets2", request_id="once")

    assert late.value.request_id == "once"


@pytest.mark.parametrize(("name", "why"), [("nowhere", "no such file"), ("", "is a directory")])
def test_a_file_that_cannot_be_read_is_refused_before_anything_is_sent(
    name: str, why: str, service: Vault, client: visual_memory.Client, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument, match=f"path: {why}: "):
        client.restore(tmp_path / name, "pets2")

    assert not service.requests["RestoreMemory"]


@pytest.mark.parametrize("method", ["BackupMemory", "RestoreMemory"])
def test_closing_ends_a_transfer_and_leaves_no_file(
    service: Vault, target: str, file: Path, method: str
) -> None:
    service.stalls_seconds = 2.0
    sent = file.with_name("sent.vmb")
    sent.write_bytes(DATA)
    client = visual_memory.connect(target)
    with ThreadPoolExecutor(1) as thread:
        backup = method == "BackupMemory"
        waits = thread.submit(
            lambda: client.backup("pets", file) if backup else client.restore(sent, "pets").info
        )
        while not service.requests[method]:
            assert not waits.done()
            time.sleep(0.01)

        client.close()

        with pytest.raises(FailedPrecondition, match="The client is closed"):
            waits.result(timeout=1.0)
    assert list(file.parent.iterdir()) == [sent]


@pytest.mark.parametrize("method", ["BackupMemory", "RestoreMemory"])
def test_closing_the_client_for_asyncio_ends_a_transfer_too(
    service: Vault, target: str, file: Path, method: str
) -> None:
    service.stalls_seconds = 2.0
    sent = file.with_name("sent.vmb")
    sent.write_bytes(DATA)

    async def closed() -> None:
        client = aio.connect(target)
        backup = method == "BackupMemory"
        waits = asyncio.create_task(
            client.backup("pets", file) if backup else client.restore(sent, "pets")
        )
        while not service.requests[method]:
            assert not waits.done()
            await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(FailedPrecondition, match="The client is closed"):
            await asyncio.wait_for(waits, 1.0)

    asyncio.run(closed())
    assert list(file.parent.iterdir()) == [sent]


def test_a_backup_cut_between_two_pieces_by_closing_is_not_taken_for_whole(
    service: Vault, target: str, file: Path
) -> None:
    file.write_bytes(b"old")
    for _ in range(CLOSINGS):
        client = visual_memory.connect(target)
        closed = Thread(target=client.close)
        pieces = random.randrange(1, 60)  # of the 264 there are

        def close_late(
            done: int, total: int, closed: Thread = closed, pieces: int = pieces
        ) -> None:
            if done == 1000 * pieces:
                closed.start()

        with pytest.raises(FailedPrecondition, match="The client is closed"):
            client.backup("pets", file, overwrite=True, progress=close_late)
        closed.join()
        assert file.read_bytes() == b"old"


def test_a_copy_is_a_memory_to_go_on_with(service: Vault, client: visual_memory.Client) -> None:
    copy = client.copy("pets", "pets3")

    assert copy.name == "pets3"
    (request,) = service.requests["CopyMemory"]
    assert (request.memory, request.new_name) == ("pets", "pets3")
    assert request.request_id
