"""Operations: the list of a memory's, and one of them with its progress and its result."""

from __future__ import annotations

from starlette.responses import Response

from visual_memory import Operation
from visual_memory.aio import Memory
from visual_memory.types import Assessment, PruneResult, RelabelResult, TuneResult
from visual_memory_explorer.pages import url
from visual_memory_explorer.suspects import PAGE, Suspects, find
from visual_memory_explorer.visit import Visit, number

SHOWN = 200
IDS_SHOWN = 60
UNDONE_BY_UNDO = (PruneResult, RelabelResult, TuneResult)


async def list_page(visit: Visit) -> Response:
    """Show the last operations of a memory."""
    info = await visit.memory.info()
    found = list[Operation]()
    async for operation in visit.client.operations(info.name):
        found.append(operation)
        if len(found) > SHOWN:
            break
    return visit.page("operations.html", info, operations=found[:SHOWN], more=len(found) > SHOWN)


async def one_page(visit: Visit) -> Response:
    """Show one operation, which the page asks for again while it runs."""
    operation = await visit.client.operation(visit.asked("name"))
    memory = visit.client.memory(operation.memory)
    info = await memory.info()
    result = operation.result
    start = number(visit.asked("from"), "from", 0, 0, 1_000_000_000)
    if isinstance(result, Assessment):
        start = min(start, max(len(result.suspects) - 1, 0) // PAGE * PAGE)
    return visit.page(
        "operation.html",
        info,
        operation=operation,
        result=result,
        kind=type(result).__name__,
        undoable=undoable(operation),
        ids_shown=IDS_SHOWN,
        labels=sorted(info.labels),
        suspects=await suspects(memory, result, start),
        start=start,
        step=PAGE,
    )


async def suspects(memory: Memory, result: object, start: int) -> Suspects | None:
    """Return the suspects to judge from ``start`` on, if the result has any."""
    return await find(memory, result, start) if isinstance(result, Assessment) else None


def undoable(operation: Operation) -> bool:
    """Return True if ``undo`` takes back what the operation has done."""
    result = operation.result
    return (
        operation.state == "done"
        and operation.undo_time is None
        and isinstance(result, UNDONE_BY_UNDO)
        and result.applied
    )


async def cancel(visit: Visit) -> Response:
    """Cancel an operation."""
    name = visit.form.text("operation")
    await visit.client.cancel(name)
    visit.say("Cancelled: nothing was changed.")
    return visit.go("/operation", {"name": name})


async def undo(visit: Visit) -> Response:
    """Take operations back, the last of them first."""
    names = [value for name, value in visit.form if name == "operation"]
    count = 0
    for name in reversed(names):
        count += await visit.memory.undo(name)
    visit.say(f"Undone: {count:,} restored.")
    return visit.go(url("memories", visit.memory.name, "operations"))


async def certificate(visit: Visit) -> Response:
    """Send the certificate of an unlearning as a file."""
    name = visit.asked("operation")
    found = await visit.client.certificate(name)
    headers = {
        "content-disposition": f'attachment; filename="{found.memory}-{found.time:%Y%m%d}.json"'
    }
    return Response(found.to_json(), media_type="application/json", headers=headers)
