"""Streams that break during an unlearning request: nothing is erased or deleted."""

from __future__ import annotations

import os
import queue
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.conftest import OPTIONS
from tests.durability.clients.proxy import Proxy

import visual_memory
from visual_memory.v1 import service_pb2 as pb
from visual_memory.v1.service_pb2_grpc import VisualMemoryStub

if TYPE_CHECKING:
    from tests.conftest import Server, Start

ROUNDS = int(os.environ.get("BROKEN_STREAMS", "15"))
IDS = [f"person {number}" for number in range(40)]
EACH = 10
PAUSE_SECONDS_MAX = 0.02
CLIENT = """
import sys, threading, grpc
def messages():
    for size in map(int, sys.argv[2:]):
        yield sys.stdin.buffer.read(size)
    print("sent", flush=True)
    threading.Event().wait()
call = "/visual_memory.v1.VisualMemory/UnlearnEntries"
grpc.insecure_channel(sys.argv[1]).stream_unary(call)(messages())
"""  # it imports nothing of ours, so hundreds of them take minutes and not an hour
Messages = list[pb.UnlearnEntriesRequest]


def to_messages(*, apply: bool) -> Messages:
    first = pb.UnlearnEntriesRequest(memory="people", apply=apply, id_count=len(IDS))
    starts = range(0, len(IDS), EACH)
    return [first, *(pb.UnlearnEntriesRequest(ids=IDS[at : at + EACH]) for at in starts)]


def pause(chance: random.Random) -> None:
    time.sleep(chance.uniform(0, PAUSE_SECONDS_MAX))


def open_ended(
    server: Server, messages: Messages, timeout: float | None = None
) -> tuple[grpc.Channel, Any, Callable[[], None]]:
    """Start a stream of these messages that does not end; the last result ends its thread."""
    channel = grpc.insecure_channel(server.address, options=OPTIONS)
    feed: queue.SimpleQueue[pb.UnlearnEntriesRequest | None] = queue.SimpleQueue()
    taken = queue.SimpleQueue[None]()

    def fed() -> pb.UnlearnEntriesRequest | None:
        taken.put(None)
        return feed.get()

    def let_go(_: object = None) -> None:
        feed.put(None)
        for _ in messages:
            taken.put(None)

    future = VisualMemoryStub(channel).UnlearnEntries.future(iter(fed, None), timeout=timeout)
    future.add_done_callback(let_go)  # then nobody takes the rest
    for message in messages:
        feed.put(message)
    for _ in (*messages, None):
        taken.get()
    return channel, future, let_go


def cancel(server: Server, messages: Messages, chance: random.Random) -> None:
    channel, future, let_go = open_ended(server, messages)
    pause(chance)
    future.cancel()
    let_go()
    channel.close()


def meet_deadline(server: Server, messages: Messages, chance: random.Random) -> None:
    seconds = chance.uniform(0, PAUSE_SECONDS_MAX) + 0.01
    channel, future, let_go = open_ended(server, messages, timeout=seconds)
    with pytest.raises(grpc.RpcError) as error:
        future.result()
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    let_go()
    channel.close()


def close(server: Server, messages: Messages, chance: random.Random) -> None:
    channel, _, let_go = open_ended(server, messages)
    pause(chance)
    channel.close()
    let_go()


def kill(server: Server, messages: Messages, chance: random.Random) -> None:
    parts = [message.SerializeToString() for message in messages]
    command = [sys.executable, "-c", CLIENT, server.address, *(str(len(part)) for part in parts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"".join(parts))
        client.stdin.flush()
        assert client.stdout.readline() == b"sent\n"
        pause(chance)
        client.send_signal(signal.SIGKILL)


def send_through(proxy: Proxy, messages: Messages) -> grpc.RpcError | None:
    """Send a whole stream through a proxy; return the error, None if there was none."""
    with grpc.insecure_channel(proxy.address, options=OPTIONS) as channel:
        try:
            VisualMemoryStub(channel).UnlearnEntries(iter(messages))
        except grpc.RpcError as error:
            return error
        finally:
            channel.close()
            proxy.wait()
    return None


def cut(server: Server, messages: Messages, chance: random.Random) -> None:
    """Cut a stream at a random byte, at the latest before its end, and check that it fails."""
    whole = Proxy(server.address)
    assert send_through(whole, to_messages(apply=False)) is None
    part = Proxy(server.address, chance.randrange(whole.passed), reset=chance.random() < 0.5)
    assert send_through(part, to_messages(apply=True)) is not None


WAYS = (cancel, meet_deadline, close, cut, kill)


def unlearnings(server: Server) -> int:
    with visual_memory.connect(server.address) as client:
        return sum(each.kind == "unlearn" for each in client.operations("people"))


def test_of_a_stream_that_breaks_off_nothing_is_erased(start: Start) -> None:
    server, seed = start(), random.random()
    chance = random.Random(seed)
    with visual_memory.connect(server.address) as client:
        people = client.create_memory("people", dimension=8)
        rows = np.random.default_rng(0).standard_normal((len(IDS), 8), np.float32)
        people.insert(vectors=rows, labels=["person"] * len(IDS), ids=IDS)
        digest = people.info().digest
    messages = to_messages(apply=True)

    for number in range(ROUNDS):
        way, sent = WAYS[number % len(WAYS)], number // len(WAYS) % (len(messages) + 1)
        way(server, messages[: len(messages) - sent], chance)
        assert unlearnings(server) == 0, (way.__name__, sent, seed)

    assert server.end() == 0  # with all that was under way
    server.start()
    assert unlearnings(server) == 0
    with visual_memory.connect(server.address) as client:
        people = client.memory("people")
        assert people.info().digest == digest
        assert people.unlearn(IDS).count == len(IDS)
