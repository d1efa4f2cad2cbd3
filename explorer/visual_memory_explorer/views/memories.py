"""Memories: the list of them, whether one has changed."""

from __future__ import annotations

from starlette.responses import HTMLResponse, Response

from visual_memory import Error, PermissionDenied, Unavailable
from visual_memory_explorer.pages import url
from visual_memory_explorer.visit import Visit


async def list_page(visit: Visit) -> Response:
    """Show all memories that the key is for."""
    if name := visit.asked("name"):
        return visit.go(url("memories", name))
    try:
        memories = await visit.client.memories()
    except PermissionDenied:  # a key that may only erase
        memories = None
    return visit.page("memories.html", memories=memories)


async def state(visit: Visit) -> Response:
    """Say whether the memory has changed since a page was made; nothing if it has not."""
    try:
        changed = (await visit.memory.info()).digest != visit.asked("digest")
    except Unavailable as error:
        return HTMLResponse(visit.text("changed.html", problem=str(error)))
    except Error:
        return Response(status_code=204)  # the page itself says it, once it is loaded again
    if not changed:
        return Response(status_code=204)
    return HTMLResponse(visit.text("changed.html", problem=""))
