"""An interrupt ends the wait for a call at any moment, and harms no other call."""

from __future__ import annotations

import _thread
import dis
import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import numpy as np
import pytest
from tests.client.transport.test_backups import DATA, Vault

import visual_memory
from visual_memory import Client, InsertResult, Memory
from visual_memory._transport.channel import GrpcChannel
from visual_memory.protocol import PIECE_BYTES
from visual_memory.v1 import service_pb2 as pb

STRIKES = int(os.environ.get("INTERRUPT_STRIKES", "12"))  # for each test
SECONDS = 20.0
ROWS = np.ones((1001, 2))  # more than one message holds


class Moments:
    """Counts the moments at which Python checks for signals; interrupts at number ``struck``.

    These are the beginning of a function, the end of a call and a jump back.
    """

    def __init__(self, struck: int = -1) -> None:
        self.count, self._struck = 0, struck
        self._called = False

    def of(self, act: Callable[[], object]) -> None:
        """Call ``act`` and count its moments."""
        sys.settrace(self._trace)
        try:
            act()
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode":
            name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            looks = self._called or name in ("RESUME", "JUMP_BACKWARD")
            self._called = name.startswith("CALL")
            self.count += looks
            if looks and self.count == self._struck:
                raise KeyboardInterrupt
        return self._trace


def interrupted_anywhere(act: Callable[[], object], after: Callable[[], object]) -> None:
    """Repeat ``act``, interrupted at random moments, and call ``after`` each time."""
    whole = Moments()
    whole.of(act)
    chance, struck = random.Random(random.random()), 0
    for moment in chance.choices(range(1, whole.count), k=STRIKES):
        try:
            Moments(moment).of(act)  # which may have fewer of them this time
        except KeyboardInterrupt:
            struck += 1
        after()
    assert struck > STRIKES / 2


class Held(Vault):
    """A service that delays the answers of the method ``held`` until they are released."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.reached, self.released = "", threading.Event(), threading.Event()
        self.import_ended = threading.Event()

    def intercept(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        super().intercept(method, request, context)
        if method == "ImportEntries":
            context.add_callback(self.import_ended.set)
        if method == self.held:
            self.reached.set()
            self.released.wait(SECONDS)


@pytest.fixture
def service() -> Held:
    return Held()  # type: ignore[abstract]  # it knows what its tests ask


@pytest.fixture
def client(target: str) -> Iterator[Client]:
    with visual_memory.connect(target, timeout=SECONDS) as client:
        yield client


@pytest.fixture
def pets(client: Client) -> Memory:
    return client.memory("pets")


def store_many(pets: Memory, request_id: str | None = None) -> InsertResult:
    return pets.insert(vectors=ROWS, labels=["cat"] * len(ROWS), request_id=request_id)


CALLS: dict[str, Callable[[Memory, Path], object]] = {
    "GetMemory": lambda pets, folder: pets.info(),
    "Embed": lambda pets, folder: pets.embed([b"a"] * 600),
    "ListEntries": lambda pets, folder: list(pets.entries()),
    "ValueEntries": lambda pets, folder: pets.values(),
    "batch": lambda pets, folder: store_many(pets),
    "BackupMemory": lambda pets, folder: pets._client.backup(
        "pets", folder / "backup", overwrite=True
    ),
    "RestoreMemory": lambda pets, folder: pets._client.restore(folder / "whole", "pets"),
}
EACH = pytest.mark.parametrize("method", CALLS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file ``whole`` that passes for a backup."""
    (tmp_path / "whole").write_bytes(os.urandom(PIECE_BYTES + 1000))
    return tmp_path


@EACH
def test_wherever_a_call_is_interrupted_the_same_client_can_be_used_at_once(
    method: str, pets: Memory, client: Client, folder: Path
) -> None:
    pets.insert(vectors=np.eye(2), labels=["cat", "dog"], ids=["a", "b"])

    interrupted_anywhere(lambda: CALLS[method](pets, folder), client.server_info)

    CALLS[method](pets, folder)


@EACH
def test_an_interrupt_does_not_wait_for_the_answer(
    method: str, service: Held, pets: Memory, client: Client, folder: Path
) -> None:
    service.held = method
    client.server_info()

    with interrupted_when(service.reached), pytest.raises(KeyboardInterrupt):
        CALLS[method](pets, folder)

    assert not service.released.is_set()
    assert client.server_info().version
    service.released.set()


@contextmanager
def interrupted_when(reached: threading.Event) -> Iterator[None]:
    """Context manager: interrupt the block, as Ctrl-C would, once ``reached`` is set."""

    def strike() -> None:
        assert reached.wait(SECONDS)
        _thread.interrupt_main()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    thread = threading.Thread(target=strike)
    gc.disable()  # a collection calls test tools, which would swallow the interrupt
    thread.start()
    try:
        yield
    finally:
        thread.join()
        gc.enable()
        signal.signal(signal.SIGINT, before)


def test_an_interrupted_write_says_how_to_find_out_whether_it_was_done(
    service: Held, pets: Memory
) -> None:
    service.held = "InsertEntries"
    pets._client.server_info()

    with interrupted_when(service.reached), pytest.raises(KeyboardInterrupt) as caught:
        pets.insert(vectors=np.eye(2), labels=["cat", "dog"])

    (note,) = caught.value.__notes__
    assert f"request_id={service.requests['InsertEntries'][0].request_id!r}" in note
    service.released.set()


def test_wherever_an_import_is_interrupted_it_goes_on_with_its_request_id(
    service: Held, pets: Memory
) -> None:
    numbers = itertools.count()
    request_ids = map("import-{}".format, numbers)
    latest = ""

    def begin() -> None:
        nonlocal latest
        latest = next(request_ids)
        store_many(pets, latest)

    def go_on() -> None:
        done = store_many(pets, latest)
        batches = service.imports[latest]
        assert done.ids == [id for batch in batches for id in batch.ids]
        assert len(set(done.ids)) == len(ROWS)

    interrupted_anywhere(begin, go_on)


def test_an_interrupted_import_says_what_is_stored_and_how_to_go_on(
    service: Held, pets: Memory
) -> None:
    service.held = "batch"
    pets._client.server_info()

    with interrupted_when(service.reached), pytest.raises(KeyboardInterrupt) as caught:
        store_many(pets, "r1")

    assert caught.value.__notes__ == [
        "Interrupted. The server confirmed 0 leading entries of 1,001; the same call with "
        "request_id='r1' goes on after what is stored."
    ]
    service.released.set()


def test_wherever_a_backup_is_interrupted_there_is_no_half_of_it(
    pets: Memory, folder: Path
) -> None:
    file = folder / "backup"

    def look() -> None:
        assert not file.exists() or file.read_bytes() == DATA
        file.unlink(missing_ok=True)

    interrupted_anywhere(lambda: CALLS["BackupMemory"](pets, folder), look)


def test_wherever_connecting_or_closing_is_interrupted_nothing_is_left(target: str) -> None:
    def connect() -> None:
        with visual_memory.connect(target, timeout=SECONDS) as client:
            client.server_info()

    others = insides()

    interrupted_anywhere(connect, lambda: None)

    for left in insides():
        if left not in others:
            gone(left)


def test_a_client_that_nobody_has_any_more_hangs_up(target: str) -> None:
    client = visual_memory.connect(target)
    client.server_info()
    grpc_channel = weakref.ref(client._transport.channel._grpc_channel)

    del client

    gone(grpc_channel)


def test_a_stream_that_nobody_reads_any_more_is_cancelled(service: Held, client: Client) -> None:
    stream = client._transport.channel.stream("ImportEntries")
    stream.send(pb.ImportEntriesRequest(start=pb.ImportStart(memory="pets", request_id="r1")))
    assert stream.read(lambda: SECONDS) is not None

    del stream

    assert service.import_ended.wait(SECONDS)


def test_a_stream_that_was_not_ended_ends_with_its_client(target: str) -> None:
    client = visual_memory.connect(target)
    grpc_channel = weakref.ref(client._transport.channel._grpc_channel)
    stream = client._transport.channel.stream("ImportEntries")
    stream.send(pb.ImportEntriesRequest(start=pb.ImportStart(memory="pets", request_id="r1")))
    stream.read(lambda: SECONDS)

    client.close()
    del stream, client

    gone(grpc_channel)


def insides() -> list[weakref.ref[GrpcChannel]]:
    """Return references to all gRPC channels of this process."""
    return [weakref.ref(each) for each in gc.get_objects() if type(each) is GrpcChannel]


def gone(reference: weakref.ref[GrpcChannel]) -> None:
    """Wait until the channel is garbage-collected."""
    deadline = time.monotonic() + SECONDS
    while reference() is not None:
        assert time.monotonic() < deadline
        gc.collect()
        time.sleep(0.01)
