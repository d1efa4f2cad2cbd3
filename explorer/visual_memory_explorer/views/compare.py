"""Comparisons: two memories, or two states of one, asked about the same pictures."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from starlette.responses import Response

from visual_memory import Decision
from visual_memory_explorer import pictures
from visual_memory_explorer.visit import BadInput, Visit

PICTURES_MAX = 48


class Row(NamedTuple):
    """A picture, by the name that the session holds it by, and both decisions on it."""

    picture: str
    first: Decision
    second: Decision

    @property
    def agree(self) -> bool:
        """True if both decide for the same label."""
        return self.first.label == self.second.label


async def page(visit: Visit) -> Response:
    """Show both decisions on each picture, or ask for memories and pictures."""
    memories = [each for each in await visit.client.memories() if each.embedder and not each.damage]
    first, second, names = visit.asked("first"), visit.asked("second"), visit.all_asked("picture")
    rows = list[Row]()
    if first and second and names:
        sent = [visit.session.picture(name).sent for name in names]
        both = (visit.client.memory(name).classify(images=sent) for name in (first, second))
        rows = [Row(*each) for each in zip(names, *await asyncio.gather(*both), strict=True)]
    return visit.page(
        "compare.html",
        memories=memories,
        first=first,
        second=second,
        rows=rows,
        agreed=sum(row.agree for row in rows),
        most=PICTURES_MAX,
    )


async def send(visit: Visit) -> Response:
    """Hold the pictures that were chosen, and compare."""
    sent = visit.form.files("picture")
    if not 0 < len(sent) <= PICTURES_MAX:
        raise BadInput(f"Choose from 1 to {PICTURES_MAX} pictures.")
    names = [
        ("picture", visit.session.keep(await asyncio.to_thread(pictures.read, each)))
        for each in sent
    ]
    both = [(name, visit.form.text(name)) for name in ("first", "second")]
    return visit.go("/compare", [*both, *names])


async def copy(visit: Visit) -> Response:
    """Keep the state of a memory as a copy, which later states can be compared with."""
    name, new = visit.form.text("memory"), visit.form.text("name").strip()
    await visit.client.copy(name, new)
    visit.say(f"{new} is a copy of {name} as it is now.")
    return visit.go("/compare", {"first": new, "second": name})


async def picture(visit: Visit) -> Response:
    """Show a picture that the session holds."""
    shown = visit.session.picture(visit.asked("name")).shown
    return Response(shown, media_type=pictures.SHOWN_TYPE)
