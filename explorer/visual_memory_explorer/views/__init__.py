"""Views: what each address shows, and what its forms do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from visual_memory_explorer.views import (
    audit,
    compare,
    curation,
    decisions,
    entries,
    maps,
    memories,
    operations,
    results,
    unlearn,
)
from visual_memory_explorer.visit import Visit

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class View(NamedTuple):
    """A method and a path, and the function that answers there."""

    method: str
    path: str
    answer: Callable[[Visit], Awaitable[Response]]


OF_MEMORY = "/memories/{memory}"

VIEWS = (
    View("GET", "/", memories.list_page),
    View("GET", OF_MEMORY, entries.list_page),
    View("GET", f"{OF_MEMORY}/state", memories.state),
    View("GET", f"{OF_MEMORY}/entry", entries.entry_page),
    View("GET", f"{OF_MEMORY}/picture", entries.picture),
    View("POST", f"{OF_MEMORY}/relabel", entries.relabel),
    View("POST", f"{OF_MEMORY}/metadata", entries.metadata),
    View("POST", f"{OF_MEMORY}/delete", entries.delete),
    View("POST", f"{OF_MEMORY}/undo", operations.undo),
    View("GET", f"{OF_MEMORY}/map", maps.page),
    View("POST", f"{OF_MEMORY}/map", maps.begin),
    View("POST", f"{OF_MEMORY}/map/forget", maps.forget),
    View("GET", f"{OF_MEMORY}/map/points", maps.points),
    View("GET", f"{OF_MEMORY}/map/point", maps.point),
    View("GET", f"{OF_MEMORY}/decide", decisions.ask_page),
    View("POST", f"{OF_MEMORY}/decide", decisions.send),
    View("POST", f"{OF_MEMORY}/decide/again", decisions.again),
    View("POST", f"{OF_MEMORY}/decide/apply", decisions.apply),
    View("POST", f"{OF_MEMORY}/decide/remember", decisions.remember),
    View("GET", f"{OF_MEMORY}/clean", curation.clean_page),
    View("POST", f"{OF_MEMORY}/clean/assess", curation.assess),
    View("POST", f"{OF_MEMORY}/clean/judged", curation.judged),
    View("POST", f"{OF_MEMORY}/clean/prune", curation.prune),
    View("POST", f"{OF_MEMORY}/clean/prune/apply", curation.apply_prune),
    View("GET", f"{OF_MEMORY}/unlearn", unlearn.ask_page),
    View("POST", f"{OF_MEMORY}/unlearn", unlearn.count),
    View("POST", f"{OF_MEMORY}/unlearn/begin", unlearn.begin),
    View("GET", f"{OF_MEMORY}/operations", operations.list_page),
    View("GET", f"{OF_MEMORY}/audit", audit.page),
    View("GET", "/operation", operations.one_page),
    View("POST", "/operation/cancel", operations.cancel),
    View("GET", "/certificate", operations.certificate),
    View("GET", "/verify", unlearn.verify_page),
    View("POST", "/verify", unlearn.verify),
    View("GET", "/picture", compare.picture),
    View("GET", "/compare", compare.page),
    View("POST", "/compare", compare.send),
    View("POST", "/compare/copy", compare.copy),
    View("GET", "/results", results.page),
    View("GET", "/results/{path:path}", results.picture),
)
