"""Unlearning: entries by id, first counted, then erased, with a certificate to verify."""

from __future__ import annotations

from starlette.responses import HTMLResponse, Response

from visual_memory import InvalidCertificate
from visual_memory_explorer.visit import BadInput, Visit

IDS_MAX = 100_000


async def ask_page(visit: Visit) -> Response:
    """Ask for the ids."""
    info = await visit.memory.info()
    return visit.page("unlearn.html", info, ids=visit.asked("id"), found=None, server=None)


async def count(visit: Visit) -> Response:
    """Show what an unlearning would erase, before it does."""
    info, ids = await visit.memory.info(), listed(visit)
    found = await visit.memory.unlearn(ids, dry_run=True, allow_missing=True)
    server = await visit.client.server_info()
    return visit.page("unlearn.html", info, ids="\n".join(ids), found=found, server=server)


async def begin(visit: Visit) -> Response:
    """Begin to erase; the map and the pictures that are held here may show it, and go, too."""
    operation = await visit.memory.unlearn(listed(visit), allow_missing=True, wait=False)
    visit.site.sessions.drop_pictures()
    await visit.site.maps.forget(visit.memory.name)
    return visit.go("/operation", {"name": operation.name})


def listed(visit: Visit) -> list[str]:
    """Return the ids that were typed, a line each, or sent as a file. Raises BadInput."""
    sent = b"\n".join(visit.form.files("file"))
    try:
        text = visit.form.text("ids") + "\n" + sent.decode()
    except UnicodeDecodeError:
        raise BadInput("The file of ids must be text in UTF-8, with an id a line.") from None
    ids = list(dict.fromkeys(line for line in text.replace("\r\n", "\n").split("\n") if line))
    if not 0 < len(ids) <= IDS_MAX:
        raise BadInput(f"There must be from 1 to {IDS_MAX:,} ids, one a line.")
    return ids


async def verify_page(visit: Visit) -> Response:
    """Ask for a certificate."""
    return visit.page("verify.html", found=None, problem="", id="")


async def verify(visit: Visit) -> Response:
    """Verify a certificate by the server's keys and the audit log of its memory."""
    sent = visit.form.files("file")
    data = sent[0] if sent else visit.form.text("text").encode()
    if not data:
        raise BadInput("Choose a certificate, or paste its text.")
    id = visit.form.text("id")
    try:
        found = await visit.client.verify(data)
    except InvalidCertificate as problem:
        page = visit.text("verify.html", found=None, problem=str(problem), id=id)
        return HTMLResponse(page, status_code=400)
    return visit.page("verify.html", found=found, problem="", id=id, holds=found.holds(id))
