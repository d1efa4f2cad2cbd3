"""Maps: a memory on a plane, and the entry at a point of it."""

from __future__ import annotations

from starlette.responses import HTMLResponse, Response

from visual_memory import MemoryInfo, NotFound
from visual_memory_explorer.maps import Key, Map, NoMap, Projection, show
from visual_memory_explorer.pages import url
from visual_memory_explorer.visit import BadInput, Visit, number

GONE = "This entry is no longer stored."


async def page(visit: Visit) -> Response:
    """Show the map, its progress, or how to begin."""
    info = await visit.memory.info()
    projection = visit.site.maps.find(info.name)
    return visit.page(
        "map.html",
        info,
        projection=projection,
        map=await shown(visit, info, projection),
    )


async def shown(visit: Visit, info: MemoryInfo, projection: Projection | None) -> Map | None:
    """Return the map of now, if its projection is done."""
    if projection is None or projection.places is None:
        return None
    return await show(visit.client, info, projection)


async def begin(visit: Visit) -> Response:
    """Begin to compute the map."""
    try:
        visit.site.maps.begin(visit.client, await visit.memory.info())
    except NoMap as problem:
        raise BadInput(str(problem)) from None
    return visit.go(url("memories", visit.memory.name, "map"))


async def forget(visit: Visit) -> Response:
    """Cancel the map, or let go of it."""
    await visit.memory.info()
    await visit.site.maps.forget(visit.memory.name)
    return visit.go(url("memories", visit.memory.name, "map"))


async def points(visit: Visit) -> Response:
    """Send the points of the map, 8 bytes each (POINT)."""
    info = await visit.memory.info()
    found = await shown(visit, info, visit.site.maps.find(info.name))
    if found is None:
        raise NotFound("There is no map of this memory.")
    return Response(found.points.tobytes(), media_type="application/octet-stream")


async def point(visit: Visit) -> Response:
    """Show the entry at a point, a part of the page."""
    info = await visit.memory.info()
    projection = visit.site.maps.find(info.name)
    if projection is None:
        raise NotFound("There is no map of this memory.")
    n = number(visit.asked("n"), "n", 0, 0, len(projection.keys) - 1)
    key = projection.keys[n]
    if key is None:
        raise NotFound(GONE)
    entry = await visit.memory.get(key.id)
    if Key(entry.id, entry.create_time) != key:
        raise NotFound(GONE)
    return HTMLResponse(visit.text("point.html", info, entry=entry))
