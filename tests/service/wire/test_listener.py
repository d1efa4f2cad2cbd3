"""Listeners can be renewed, but not while the server drains."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from visual_memory_service.config import BadSetting, Bounds
from visual_memory_service.wire.health import Health
from visual_memory_service.wire.listener import Listener, check_free

BOUNDS = Bounds(
    calls_max=8,
    connection_calls_max=8,
    connections_max=8,
    message_bytes_max=1 << 20,
    pending_bytes_max=1 << 20,
    idle_seconds=60,
    drain_seconds=5,
)
Ending = Callable[[Listener], Awaitable[object]]


async def drained_then_renewed(listener: Listener) -> None:
    await listener.drain()
    await listener.renew()


async def renewed_then_drained(listener: Listener) -> None:
    await listener.renew()
    await listener.drain()


async def both_at_once(listener: Listener) -> None:
    await asyncio.gather(listener.renew(), listener.drain())


async def both_the_other_way_round(listener: Listener) -> None:
    await asyncio.gather(listener.drain(), listener.renew())


def test_one_that_cannot_be_made_anew_goes_on_and_still_ends() -> None:
    async def told_after_all() -> Any:
        listener = Listener(
            "127.0.0.1:0", BOUNDS, ("none",), lambda server, connections_closing: None, Health()
        )
        address = await listener.start()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            listener._address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(BadSetting, match="cannot be listened on"):
                await listener.renew()
        async with grpc.aio.insecure_channel(address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            told = [await watch.read()]
            _, last = await asyncio.gather(listener.drain(), watch.read())
        check_free(address)
        return [each.status for each in (*told, last)]

    states = health_pb2.HealthCheckResponse
    assert asyncio.run(told_after_all()) == [states.SERVING, states.NOT_SERVING]


async def renewed_then_started(listener: Listener) -> str:
    await listener.renew()
    return await listener.start()


async def started_while_it_is_renewed(listener: Listener) -> str:
    address, _ = await asyncio.gather(listener.start(), listener.renew())
    return address


@pytest.mark.parametrize("starting", [renewed_then_started, started_while_it_is_renewed])
def test_one_that_is_made_anew_before_it_has_started_serves(
    starting: Callable[[Listener], Awaitable[str]],
) -> None:
    async def status() -> Any:
        listener = Listener("127.0.0.1:0", BOUNDS, ("none",), lambda *_: None, Health())
        address = await starting(listener)
        async with grpc.aio.insecure_channel(address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            answer = await check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
        await listener.drain()
        return answer.status

    assert asyncio.run(status()) == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("ending", [Listener.drain, Listener.renew])
def test_a_health_check_without_its_message_delays_no_end(ending: Ending) -> None:
    async def ended() -> Any:
        patient = replace(BOUNDS, drain_seconds=3600)
        listener = Listener("127.0.0.1:0", patient, ("none",), lambda *_: None, Health())
        address = await listener.start()
        async with grpc.aio.insecure_channel(address) as channel:
            call: Any = channel.stream_unary("/grpc.health.v1.Health/Check")()
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            await asyncio.wait_for(ending(listener), 30)
            code = await call.code()
        await listener.drain()
        return code

    assert asyncio.run(ended()) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "ending",
    [drained_then_renewed, renewed_then_drained, both_at_once, both_the_other_way_round],
)
def test_nothing_listens_after_the_drain_also_where_it_was_to_be_made_anew(ending: Ending) -> None:
    async def address_of_one_that_ended() -> str:
        listener = Listener(
            "127.0.0.1:0", BOUNDS, ("none",), lambda server, connections_closing: None, Health()
        )
        address = await listener.start()
        await ending(listener)
        check_free(address)
        return address

    assert asyncio.run(address_of_one_that_ended())
