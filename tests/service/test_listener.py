"""What listens can be made anew, but not once it drains."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from visual_memory_service.health import Health
from visual_memory_service.listener import Bounds, Listener, check_free

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


@pytest.mark.parametrize(
    "ending",
    [drained_then_renewed, renewed_then_drained, both_at_once, both_the_other_way_round],
)
def test_nothing_listens_after_the_drain_also_where_it_was_to_be_made_anew(ending: Ending) -> None:
    async def address_of_one_that_ended() -> str:
        bounds = Bounds(8, 1 << 20, 1 << 20, drain_seconds=5)
        listener = Listener("127.0.0.1:0", bounds, "none", lambda server, leaving: None, Health())
        address = await listener.start()
        await ending(listener)
        check_free(address)
        return address

    assert asyncio.run(address_of_one_that_ended())
