"""Visits: one request of a browser that has logged in, as the views see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from visual_memory import MemoryInfo
from visual_memory.aio import Client, Memory
from visual_memory_explorer.forms import Form
from visual_memory_explorer.maps import Maps
from visual_memory_explorer.pages import render
from visual_memory_explorer.sessions import Said, Session, Sessions


class BadInput(Exception):
    """A field of a form or an address that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Site:
    """What all visits share; ``results`` is the folder of benchmark results, if there is one."""

    sessions: Sessions
    maps: Maps
    results: Path | None


@dataclass(frozen=True, slots=True)
class Visit:
    """A request with its session and, if it is a POST, its form."""

    site: Site
    request: Request
    session: Session
    form: Form

    @property
    def client(self) -> Client:
        """The connection to the server, with the rights of who has logged in."""
        return self.session.client

    @property
    def memory(self) -> Memory:
        """The memory that the address names."""
        return self.client.memory(self.request.path_params["memory"])

    def asked(self, name: str) -> str:
        """Return a parameter of the address, or nothing."""
        return self.request.query_params.get(name, "")

    def all_asked(self, name: str) -> list[str]:
        """Return all parameters of a name."""
        return self.request.query_params.getlist(name)

    def page(self, template: str, info: MemoryInfo | None = None, **values: Any) -> Response:
        """Render a page; one of a memory is given its ``info``."""
        said, self.session.said = self.session.said, None
        return HTMLResponse(self.text(template, info, said=said, **values))

    def text(
        self,
        template: str,
        info: MemoryInfo | None = None,
        said: Said | None = None,
        **values: Any,
    ) -> str:
        """Render a template to text."""
        return render(
            template,
            session=self.session,
            target=self.client.target,
            info=info,
            here=self.request.url.path,
            said=said,
            has_results=self.site.results is not None,
            **values,
        )

    def say(self, text: str, *undo: str) -> None:
        """Have the next page say a sentence, with buttons that undo these operations."""
        self.session.said = Said(text, undo)

    def go(self, path: str, query: Mapping[str, str] | Sequence[tuple[str, str]] = ()) -> Response:
        """Send the browser to another page, as after a form."""
        return RedirectResponse(address(path, query), status_code=303)


def address(path: str, query: Mapping[str, str] | Sequence[tuple[str, str]]) -> str:
    """Return an address with its query."""
    return f"{path}?{urlencode(query)}" if query else path


def number(text: str, name: str, default: int, least: int, most: int) -> int:
    """Parse a whole number from ``least`` to ``most``; nothing is the default. Raises BadInput."""
    if not text:
        return default
    if text.isascii() and text.isdecimal() and len(text) < 12 and least <= int(text) <= most:
        return int(text)
    raise BadInput(f"{name} must be a whole number from {least} to {most:,}.")


def fraction(text: str, name: str, default: float | None) -> float | None:
    """Parse a number from 0 to 1; nothing is the default. Raises BadInput."""
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if 0 <= value <= 1:
        return value
    raise BadInput(f"{name} must be a number from 0 to 1.")
