"""Entries: pages of them, one of them, and its changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from starlette.responses import Response

from visual_memory import Neighbor, NotFound
from visual_memory_explorer.pages import url
from visual_memory_explorer.visit import BadInput, Visit

PAGE_SIZE = 60
LABELS_SHOWN = 200
NEAR_SHOWN = 12
JPEG = "image/jpeg"


async def list_page(visit: Visit) -> Response:
    """Show a page of entries that match a filter or have a label."""
    info = await visit.memory.info()
    filter, label = visit.asked("filter").strip(), visit.asked("label")
    if label:
        filter = f"label = {quoted(label)}"
    page = await visit.memory.entry_page(
        filter or None, page_token=visit.asked("after"), page_size=PAGE_SIZE
    )
    by_count = sorted(info.labels.items(), key=lambda each: (-each[1], each[0]))
    return visit.page(
        "entries.html",
        info,
        filter=filter,
        label=label,
        page=page,
        first=not visit.asked("after"),
        labels=list(islice(by_count, LABELS_SHOWN)),
    )


def quoted(label: str) -> str:
    """Write a label as a filter has it."""
    escaped = label.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def entry_page(visit: Visit) -> Response:
    """Show one entry with the entries nearest to it."""
    info = await visit.memory.info()
    id = visit.asked("id")
    entry = await visit.memory.get(id, include_vector=True)
    assert entry.vector is not None
    near: Sequence[Neighbor] = ()
    if info.count - info.pruned_count > (not entry.pruned_by):  # some other entry votes
        (near,) = await visit.memory.search(
            vectors=entry.vector[None], k=NEAR_SHOWN, exclude_ids=[id]
        )
    return visit.page("entry.html", info, entry=entry, near=near, labels=sorted(info.labels))


async def picture(visit: Visit) -> Response:
    """Send the thumbnail of an entry, or for ``whole`` the stored picture as a download."""
    whole = bool(visit.asked("whole"))
    entry = await visit.memory.get(
        visit.asked("id"), include_image=whole, include_thumbnail=not whole
    )
    data = entry.image if whole else entry.thumbnail
    if data is None:
        raise NotFound("This entry has no picture.")
    if whole:  # of whatever kind it was sent, so that no browser shows it as a page
        headers = {"content-disposition": 'attachment; filename="picture"'}
        return Response(data, media_type="application/octet-stream", headers=headers)
    return Response(data, media_type=JPEG)


async def relabel(visit: Visit) -> Response:
    """Give one entry another label, which can be undone."""
    id, label = visit.form.text("id"), visit.form.text("label").strip()
    if not label:
        raise BadInput("The new label must not be empty.")
    result = await visit.memory.relabel({id: label}, apply=True)
    if result.ids:
        visit.say(f"Its label is {label} now.", result.operation)
    else:
        visit.say(f"It has the label {label} already.")
    return visit.go(url("memories", visit.memory.name, "entry"), {"id": id})


async def metadata(visit: Visit) -> Response:
    """Replace the metadata of one entry: a field for each key and its value, or empty ones."""
    id = visit.form.text("id")
    fields = dict(visit.form)
    values = dict[str, str]()
    for name, key in fields.items():
        if name.startswith("key-") and key:
            if key in values:
                raise BadInput(f"The key {key} is there twice.")
            value = fields.get(name.replace("key", "value", 1), "")
            values[key] = value.replace("\r\n", "\n")  # as browsers send lines
    await visit.memory.update(id, metadata=values)
    visit.say("Metadata saved.")
    return visit.go(url("memories", visit.memory.name, "entry"), {"id": id})


async def delete(visit: Visit) -> Response:
    """Delete one entry."""
    id = visit.form.text("id")
    await visit.memory.delete([id])
    visit.say(f"Deleted {id}.")
    return visit.go(url("memories", visit.memory.name))
