"""The client for asyncio where it is more than the blocking one with ``await``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.client.transport.test_channel import interrupted_when

from visual_memory import FailedPrecondition, NotFound, Unavailable, aio

if TYPE_CHECKING:
    from tests.client.conftest import Service


def test_a_connection_is_a_context_and_entries_are_iterated(target: str) -> None:
    async def ids() -> list[str]:
        async with aio.connect(target) as client:
            pets = client.memory("pets")
            await pets.insert(vectors=np.eye(2), labels=["cat", "dog"], ids=["a", "b"])
            return [entry.id async for entry in pets.entries()]

    assert asyncio.run(ids()) == ["a", "b"]


def test_calls_run_beside_each_other(service: Service, target: str) -> None:
    service.seconds = 0.1

    async def most_at_once() -> int:
        async with aio.connect(target) as client:
            pets = client.memory("pets")
            await pets.insert(vectors=np.eye(2), labels=["cat", "dog"])
            await asyncio.gather(*[pets.classify(vectors=np.eye(2), k=1) for _ in range(4)])
            return service.most_at_once

    assert asyncio.run(most_at_once()) > 1


def test_a_cancelled_import_keeps_what_was_acknowledged(service: Service, target: str) -> None:
    service.seconds = 0.02

    async def stored() -> int:
        async with aio.connect(target) as client:
            begun = asyncio.Event()
            task = asyncio.create_task(
                client.memory("pets").insert(
                    vectors=np.ones((5000, 2)),
                    labels=["cat"] * 5000,
                    progress=lambda done, total: begun.set(),
                )
            )
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return len(service.entries)

    assert 4 <= asyncio.run(stored()) < 5000


def test_closing_ends_a_call_that_waits_for_its_next_try(service: Service, target: str) -> None:
    service.faults["GetMemory"] = [Unavailable.status] * 1000

    async def asked() -> None:
        client = aio.connect(target)
        call = asyncio.create_task(client.memory("pets").info())
        while len(service.requests["GetMemory"]) < 2:
            await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(FailedPrecondition, match="The client is closed"):
            await call

    asyncio.run(asked())


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("GetMemory", lambda pets: pets.info()),
        ("Classify", lambda pets: pets.classify(vectors=np.ones((3000, 2)))),
        ("ValueEntries", lambda pets: pets.values()),
        ("JudgeLabels", lambda pets: pets.judge_labels()),
        ("batch", lambda pets: pets.insert(vectors=np.ones((5000, 2)), labels=["cat"] * 5000)),
    ],
)
def test_closing_ends_a_call_that_waits_for_its_answer(
    service: Service, target: str, method: str, call: Callable[[aio.Memory], Any]
) -> None:
    service.seconds = 2.0

    async def reason() -> str:
        client = aio.connect(target)
        waits = asyncio.ensure_future(call(client.memory("pets")))
        while not service.requests[method]:
            assert not waits.done()
            await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(FailedPrecondition) as caught:
            await asyncio.wait_for(waits, 1.0)
        return caught.value.reason

    assert asyncio.run(reason()) == "CLIENT_CLOSED"


def test_a_cancelled_write_says_how_to_find_out_whether_it_was_done(
    service: Service, target: str
) -> None:
    async def notes() -> list[str]:
        async with aio.connect(target) as client:
            service.faults["DeleteEntries"] = [Unavailable.status] * 1000
            waits = asyncio.create_task(client.memory("pets").delete(["a"], request_id="r1"))
            while not service.requests["DeleteEntries"]:
                await asyncio.sleep(0.01)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await waits
            return caught.value.__notes__

    assert asyncio.run(notes()) == [
        "Interrupted; whether it was done is not known, but the same call with request_id='r1' "
        "does it once."
    ]


def test_ctrl_c_ends_a_run_and_harms_no_other(service: Service, target: str) -> None:
    service.seconds = 2.0
    asked = threading.Event()

    async def ask(progress: Callable[[], object]) -> str:
        async with aio.connect(target) as client:
            progress()
            return (await client.memory("pets").info()).name

    with interrupted_when(asked), pytest.raises(KeyboardInterrupt):
        asyncio.run(ask(asked.set))

    assert asyncio.run(ask(lambda: None)) == "pets"


def test_a_call_that_is_cancelled_itself_stays_cancelled(service: Service, target: str) -> None:
    service.seconds = 2.0

    async def asked() -> None:
        client = aio.connect(target)
        waits = asyncio.create_task(client.memory("pets").info())
        while not service.requests["GetMemory"]:
            await asyncio.sleep(0.01)
        waits.cancel()
        await client.close()
        with pytest.raises(asyncio.CancelledError):
            await waits

    asyncio.run(asked())


def test_an_error_in_one_of_two_messages_leaves_no_task_behind(
    service: Service, target: str
) -> None:
    async def left() -> int:
        async with aio.connect(target) as client:
            pets = client.memory("pets")
            await client.server_info()
            service.faults["Embed"] = [NotFound.status] * 2
            with pytest.raises(NotFound):
                await pets.embed([b"a"] * 600)
            return len(asyncio.all_tasks()) - 1

    assert asyncio.run(left()) == 0
